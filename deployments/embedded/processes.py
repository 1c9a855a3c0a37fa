"""Processes of an embedded stack: known again for certain, found again when orphaned, ended for good."""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Final

import psutil

from deployments.embedded.process_id import ProcessId

MARK: Final = "SENSOR_INGEST_EMBEDDED_IN"
"""Environment variable by which all processes of a stack, flow runs too, carry the stack's data directory.

A run that outlives its worker has no parent that would lead back to the stack, and where the process worker of Prefect
3.9.1 started it by way of its supervisor, a session of its own; its environment still leads back.
"""

_CLOCK_STEP_SECONDS: Final = 1.5
"""Linux counts a process's start from the boot time, which it gives in whole seconds and moves with the clock."""
_POLL_SECONDS: Final = 0.05


def identify(pid: int, stop_signal: Signals = Signals.SIGTERM) -> ProcessId:
    """The identity of a process that exists, or has ended and was not waited for yet."""
    return ProcessId(pid=pid, created=psutil.Process(pid).create_time(), stop_signal=stop_signal)


def find_process(identity: ProcessId) -> psutil.Process | None:
    """The process while it runs; None when it has ended, even if its number went to another one."""
    try:
        process = psutil.Process(identity.pid)
    except psutil.NoSuchProcess:
        return None
    return process if _runs(process) and abs(process.create_time() - identity.created) < _CLOCK_STEP_SECONDS else None


def other_processes(data_dir: Path, parts: Iterable[ProcessId]) -> list[psutil.Process]:
    """Running processes that carry the mark of that directory, but are neither these parts nor this process."""
    known = {os.getpid(), *(part.pid for part in parts)}
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(MARK) == str(data_dir) and process.pid not in known
    ]


def end_processes(
    processes: Iterable[psutil.Process], stop_signal: Signals, within_seconds: float, hurry: threading.Event
) -> None:
    """Ask them to end, and kill those that have not within that time, or before it once somebody is in a hurry.

    psutil compares creation times before it sends anything: no other process that got the number is hit.
    """
    remaining = list(processes)
    for number in (stop_signal, SIGKILL):
        for process in remaining:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        deadline = time.monotonic() + within_seconds
        while (remaining := [process for process in remaining if _runs(process)]) and time.monotonic() < deadline:
            if hurry.is_set() and number != SIGKILL:
                break
            time.sleep(_POLL_SECONDS)


def _runs(process: psutil.Process) -> bool:
    """Whether it has not ended. One that has, and that its parent did not ask after yet, still has an entry."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
