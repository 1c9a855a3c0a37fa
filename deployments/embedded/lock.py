"""One stack at a time on a data directory."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.embedded.errors import DataDirBusyError
from deployments.embedded.running import running_stack


@contextmanager
def sole_use(data_dir: Path) -> Iterator[None]:
    """Keep the data directory from other stacks; the system lets go of it when this process ends in whatever way.

    Raises:
        DataDirBusyError: another stack has it.
    """
    with (data_dir / "lock").open("a") as file:  # not inherited by child processes, see PEP 446
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = running_stack(data_dir)
            raise DataDirBusyError(data_dir, other.supervisor.pid if other else None) from None
        yield
