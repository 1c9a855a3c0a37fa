"""Processes of an embedded stack: how they are identified, found when orphaned, and ended."""

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

DATA_DIR_VARIABLE: Final = "SENSOR_INGEST_EMBEDDED_IN"
"""Environment variable of all processes of a stack, flow runs included; its value is the stack's data directory.

The parent of an orphaned run does not lead to the stack, nor does its session if the process worker of Prefect 3.9.1
started it through its supervisor; its environment variables do.
"""

_CLOCK_STEP_SECONDS: Final = 1.5
"""Tolerance: Linux derives creation times from the boot time, which is in whole seconds and moves with the clock."""
_POLL_SECONDS: Final = 0.05


def identify(pid: int, stop_signal: Signals = Signals.SIGTERM) -> ProcessId:
    """The identity of a process that runs or is a zombie."""
    return ProcessId(pid=pid, created=psutil.Process(pid).create_time(), stop_signal=stop_signal)


def find_process(identity: ProcessId) -> psutil.Process | None:
    """The process if it runs; None if it has ended, even if the system has reused its number."""
    try:
        process = psutil.Process(identity.pid)
    except psutil.NoSuchProcess:
        return None
    return process if _runs(process) and abs(process.create_time() - identity.created) < _CLOCK_STEP_SECONDS else None


def other_processes(data_dir: Path, parts: Iterable[ProcessId]) -> list[psutil.Process]:
    """Running processes with that data directory in their variables, except these parts and this process."""
    known = {os.getpid(), *(part.pid for part in parts)}
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(DATA_DIR_VARIABLE) == str(data_dir) and process.pid not in known
    ]


def end_processes(
    processes: Iterable[psutil.Process], stop_signal: Signals, within_seconds: float, force: threading.Event
) -> None:
    """Send the stop signal, then kill the processes that still run after that time, or once `force` is set.

    psutil compares creation times before it sends a signal, so a process that reuses a number gets none.
    """
    remaining = list(processes)
    for number in (stop_signal, SIGKILL):
        for process in remaining:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        deadline = time.monotonic() + within_seconds
        while (remaining := [process for process in remaining if _runs(process)]) and time.monotonic() < deadline:
            if force.is_set() and number != SIGKILL:
                break
            time.sleep(_POLL_SECONDS)


def _runs(process: psutil.Process) -> bool:
    """Whether the process has not ended; a zombie has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
