"""The embedded stack that runs on a data directory, if one does."""

from pathlib import Path

from deployments.embedded.description import StackDescription


def running_stack(data_dir: Path) -> StackDescription | None:
    """The embedded stack that runs on that data directory now; None when none does."""
    description = StackDescription.read(data_dir)
    if description is None:
        return None
    from deployments.embedded.processes import find_process  # noqa: PLC0415 - psutil: only where a stack can run

    return description if find_process(description.supervisor) else None
