"""One process of the embedded stack: what it is, and how it is started, known to be ready, and stopped."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

from deployments.embedded.errors import PartFailedError

_POLL_SECONDS: Final = 0.05


class StackStopping(BaseException):
    """Raised out of a wait for a part when the stack is being stopped."""


@dataclass(frozen=True)
class Account:
    """The user and groups that a process runs as; those of whoever starts it, where there are none."""

    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Started:
    """A process of a part, and when it was started (seconds since the epoch)."""

    pid: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a part of the stack is, whether it runs or not."""

    name: str
    title: str
    """Its name in sentences."""
    command: Sequence[str]
    environment: Mapping[str, str]
    working_dir: Path
    log: Path
    ready: Callable[[Started], bool] = lambda _: True
    """Whether the process does its work by now; it is asked again and again until it says so."""
    ready_within_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_seconds: float = 10
    after_stop: Callable[[], None] = lambda: None
    """Clears away what it leaves behind, once it was stopped for good."""
    account: Account = Account()

    def start(self) -> "PartProcess":
        """A new process of the part, in a session of its own."""
        with self.log.open("ab") as output:
            popen = subprocess.Popen(  # noqa: S603 - commands are put together by this package
                self.command,
                env=self.environment,
                cwd=self.working_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches the supervisor alone, and the order of the stop is its
                user=self.account.user,
                group=self.account.group,
                extra_groups=self.account.extra_groups,
            )
        return PartProcess(self, popen, Started(popen.pid, time.time()))


@dataclass(frozen=True)
class PartProcess:
    """A process that was started for a part."""

    part: Part
    popen: "subprocess.Popen[bytes]"
    started: Started

    def wait_until_ready(self, stopping: Event) -> None:
        """Return when the part does its work.

        Raises:
            PartFailedError: it ended, or was not ready in time; the text shows its command and the end of its log.
            StackStopping: the stack is being stopped.
        """
        deadline = time.monotonic() + self.part.ready_within_seconds
        while not self.part.ready(self.started):
            if self.popen.poll() is not None:
                raise self._failed(f"{how_it_ended(self.popen.returncode)} while it was starting")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {self.part.ready_within_seconds:g} seconds")
            if stopping.wait(_POLL_SECONDS):
                raise StackStopping

    def stop(self, hurry: Event) -> None:
        """End it in good order; by force when the time is up or somebody is in a hurry."""
        deadline = time.monotonic() + self.part.stop_within_seconds
        if self.popen.poll() is None:
            self.popen.send_signal(self.part.stop_signal)
        while self.popen.poll() is None and time.monotonic() < deadline and not hurry.is_set():
            time.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def _failed(self, problem: str) -> PartFailedError:
        return PartFailedError(self.part.title, problem, self.part.command, self.part.log)


def how_it_ended(returncode: int) -> str:
    """Words for what `Popen.returncode` says."""
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"
