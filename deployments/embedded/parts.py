"""A part of the embedded stack: one long-running program, such as the Prefect server, as a child process."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

from deployments.embedded.errors import PartFailedError

Log = Callable[[str], None]
"""Receives a line of text per event of the stack, from several threads."""

_POLL_SECONDS: Final = 0.05


class StackStopping(BaseException):
    """Raised out of a wait for a part when the stack stops."""


@dataclass(frozen=True)
class UnixAccount:
    """User and groups that a process runs as; None stands for those of its parent process."""

    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """How a part is started, how it shows that it is ready, and how it is stopped."""

    name: str
    title: str
    """Its name in sentences."""
    command: Sequence[str]
    environment: Mapping[str, str]
    working_dir: Path
    log_file: Path
    ready: "Callable[[PartProcess], bool]" = lambda _: True
    """Whether the process is ready; polled until it returns True."""
    ready_within_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_seconds: float = 10
    after_stop: Callable[[], None] = lambda: None
    """Called once the part has stopped and is not restarted."""
    account: UnixAccount = UnixAccount()

    def start(self) -> "PartProcess":
        """A new process of the part, in its own session."""
        with self.log_file.open("ab") as output:
            popen = subprocess.Popen(  # noqa: S603 - the commands are this package's own
                self.command,
                env=self.environment,
                cwd=self.working_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops the parts in order
                user=self.account.user,
                group=self.account.group,
                extra_groups=self.account.extra_groups,
            )
        return PartProcess(self, popen, time.time())


@dataclass(frozen=True)
class PartProcess:
    """A process of a part."""

    part: Part
    popen: "subprocess.Popen[bytes]"
    started_at: float
    """Seconds since the epoch."""

    @property
    def pid(self) -> int:
        return self.popen.pid

    def wait_until_ready(self, stopping: Event) -> None:
        """Return when the process is ready.

        Raises:
            PartFailedError: it ended, or was not ready in time; the message has its command and the end of its log.
            StackStopping: the stack stops.
        """
        deadline = time.monotonic() + self.part.ready_within_seconds
        while not self.part.ready(self):
            if self.popen.poll() is not None:
                raise self._failed(f"{describe_exit(self.popen.returncode)} while it was starting")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {self.part.ready_within_seconds:g} seconds")
            if stopping.wait(_POLL_SECONDS):
                raise StackStopping

    def stop(self, force: Event) -> None:
        """Send the stop signal and wait; kill the process after `stop_within_seconds`, or once `force` is set."""
        deadline = time.monotonic() + self.part.stop_within_seconds
        if self.popen.poll() is None:
            self.popen.send_signal(self.part.stop_signal)
        while self.popen.poll() is None and time.monotonic() < deadline and not force.is_set():
            time.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def _failed(self, problem: str) -> PartFailedError:
        return PartFailedError(self.part.title, problem, self.part.command, self.part.log_file)


def describe_exit(returncode: int) -> str:
    """The meaning of `Popen.returncode`, as the predicate of a sentence."""
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"
