"""What a stack that was killed has left running, ended before the next one starts on the same data directory."""

import signal
from pathlib import Path
from typing import Final

from deployments.embedded.description import StackDescription
from deployments.embedded.processes import end_processes, find_process, marked_processes
from deployments.embedded.supervisor import Say

_WITHIN_SECONDS: Final = 20


def end_leftovers(data_dir: Path, say: Say) -> None:
    """End what runs of an earlier stack: its parts in good order, last one first, then orphans such as flow runs.

    Only for whoever has the sole use of the data directory: then no stack lives that these could belong to.
    """
    earlier = StackDescription.read(data_dir)
    for name, identity in reversed((earlier.parts if earlier else {}).items()):
        process = find_process(identity)
        if process:
            say(f"ending {name} (process {process.pid}), left over from a stack that was killed")
            end_processes([process], identity.stop_signal, _WITHIN_SECONDS)
    end_orphans(data_dir, _WITHIN_SECONDS)


def end_orphans(data_dir: Path, within_seconds: float) -> None:
    """End every process that carries the mark of that data directory."""
    end_processes(marked_processes(data_dir), signal.SIGTERM, within_seconds)
