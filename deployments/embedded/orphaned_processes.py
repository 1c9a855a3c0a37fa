"""Ends processes that this process did not start: flow runs, and the parts of a stack that was killed."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from deployments.embedded.description import StackDescription
from deployments.embedded.parts import Log
from deployments.embedded.process_id import ProcessId
from deployments.embedded.processes import end_processes, find_process, other_processes
from deployments.embedded.services.warm_process import NAME

_PART_SECONDS: Final = 30
_RUN_SECONDS: Final = 10


def end_orphaned_processes(data_dir: Path, log: Log, force: threading.Event) -> None:
    """End the processes of an earlier stack in the order of a clean stop; kill them once `force` is set.

    The caller has the exclusive lock on the data directory, so no running stack owns these processes.
    """
    earlier = StackDescription.read(data_dir)
    parts = list(earlier.parts.items()) if earlier else []
    while parts:
        name, identity = parts.pop()
        process = find_process(identity)
        if process:
            log(f"ending {name} (process {process.pid}), orphaned when its stack was killed")
            end_processes([process], identity.stop_signal, _PART_SECONDS, force)
        end_flow_runs(data_dir, dict(parts), log, force)


def end_flow_runs(data_dir: Path, parts: Mapping[str, ProcessId], log: Log, force: threading.Event) -> None:
    """End all processes of the stack except these parts: mostly flow runs, which the worker started.

    Call it after the relay has ended and before the worker ends: then a run that receives SIGTERM reports that it
    crashed. A run whose worker ends first disappears and stays "Running" for ever (Prefect 3.9.1).
    """
    processes = [each for each in other_processes(data_dir, parts.values()) if not _is_forked_run(each, parts)]
    if processes:
        log(f"ending child processes of parts: {', '.join(str(process.pid) for process in processes)}")
        end_processes(processes, signal.SIGTERM, _RUN_SECONDS, force)


def _is_forked_run(process: psutil.Process, parts: Mapping[str, ProcessId]) -> bool:
    """Whether the process gets its signals from its launcher; a run that gets SIGTERM twice reports nothing."""
    try:
        return NAME in parts and process.ppid() == parts[NAME].pid
    except psutil.NoSuchProcess:
        return False
