"""What tests share: waiting for something that takes its own time."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")


def eventually(check: Callable[[], T | None], timeout_seconds: float, what: str) -> T:
    """The first answer of `check` that is true, asked for over and over until the time is up.

    Questions cost those who answer them, too: the longer it has taken so far, the longer are the pauses in between.

    Raises:
        TimeoutError: it never was; the text says what was waited for, and the last answer.
    """
    began = time.monotonic()
    while not (answer := check()):
        waited = time.monotonic() - began
        if waited > timeout_seconds:
            raise TimeoutError(f"waited {timeout_seconds:g} s for {what}; the last answer was {answer!r}")
        time.sleep(min(max(0.05, waited / 20), 0.5))
    return answer


def run_for_at_most(
    seconds: float, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What became of the command, with all that it printed.

    Raises:
        subprocess.TimeoutExpired: it did not end in time; it was killed, and all that it had started (the temporary
            Prefect server of a flow run, say, would outlive it).
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            said, complained = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(running.pid).children(recursive=True):
                child.kill()
            running.kill()
            raise
    return subprocess.CompletedProcess(command, running.returncode, said, complained)
