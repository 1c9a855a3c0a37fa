"""What is to be ended besides parts that this process runs: flow runs, and all that a killed stack has left."""

import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deployments.embedded.description import StackDescription
from deployments.embedded.process_id import ProcessId
from deployments.embedded.processes import end_processes, find_process, other_processes
from deployments.embedded.supervisor import Say

_PART_SECONDS: Final = 30
_RUN_SECONDS: Final = 10


def end_leftovers(data_dir: Path, say: Say, hurry: threading.Event) -> None:
    """End what runs of an earlier stack, in the order of a clean stop; by force once somebody is in a hurry.

    Only for whoever has the sole use of the data directory: then no stack lives that these could belong to.
    """
    earlier = StackDescription.read(data_dir)
    parts = list(earlier.parts.items()) if earlier else []
    while parts:
        name, identity = parts.pop()
        process = find_process(identity)
        if process:
            say(f"ending {name} (process {process.pid}), left over from a stack that was killed")
            end_processes([process], identity.stop_signal, _PART_SECONDS, hurry)
        end_runs(data_dir, (identity for _, identity in parts), say, hurry)


def end_runs(data_dir: Path, parts: Iterable[ProcessId], say: Say, hurry: threading.Event) -> None:
    """End all processes of the stack but these parts: mostly flow runs, which the worker has started.

    It has to be done while the worker lives, after the relay has ended: a run that is asked to end by SIGTERM then
    reports that it crashed; one whose worker is asked to end, or is gone, disappears and is "Running" for ever
    (Prefect 3.9.1).
    """
    processes = other_processes(data_dir, parts)
    if processes:
        say(f"ending what parts have started: process {', '.join(str(process.pid) for process in processes)}")
        end_processes(processes, signal.SIGTERM, _RUN_SECONDS, hurry)
