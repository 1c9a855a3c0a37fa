"""The embedded stack as a whole, for as long as a `with` block lasts."""

import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from blocks.stack_outputs import StackOutputs
from deployments.embedded import signals
from deployments.embedded.description import StackDescription
from deployments.embedded.lock import sole_use
from deployments.embedded.orphaned_processes import end_leftovers, end_runs
from deployments.embedded.record import StackRecord, plan_stack
from deployments.embedded.startup import RELAY_COMMAND, Deploy, Startup
from deployments.embedded.supervisor import Say, Supervisor
from deployments.embedded.variables import child_environment


def print_line(line: str) -> None:
    """Print it at once, also into a pipe; what nobody reads any more stops nothing."""
    with suppress(OSError):
        print(line, flush=True)


class EmbeddedStack:
    """An AWS emulator, PostgreSQL, the Prefect server, a worker and the relay.

    Entering returns when all of it runs. Until the block is left, a part that dies is started again. Ctrl-C, SIGTERM
    and SIGHUP leave the block, and in whatever way it is left, no process of the stack keeps running.
    """

    outputs: StackOutputs
    """What the CloudFormation stack in the emulator consists of."""

    def __init__(
        self,
        data_dir: Path,
        *,
        prefect_port: int = 0,
        aws_port: int = 0,
        notify_after_seconds: float = 600,
        deploy: Deploy | None = None,
        relay_command: Sequence[str] = RELAY_COMMAND,
        use_postgres: bool = True,
        say: Say = print_line,
    ) -> None:
        """Start nothing yet.

        Args:
            data_dir: where all state and the logs are; it outlives the stack.
            prefect_port: of the Prefect server and its UI; 0 for that of last time if it is free, else any free one.
            aws_port: of the emulator; 0 likewise.
            notify_after_seconds: wait between loading and email of deployed runs.
            deploy: called once the Prefect server and the AWS side are there, before the relay sends its first event.
            relay_command: the program that carries announcements from the queue to Prefect.
            use_postgres: whether the Prefect server gets PostgreSQL where it can run; SQLite, which is locked for too
                long when much happens at once, is only there to be measured.
            say: takes what happens, a plain line at a time, from several threads.
        """
        self._data_dir = data_dir.absolute()
        self._plan = partial(
            plan_stack,
            self._data_dir,
            prefect_port=prefect_port,
            aws_port=aws_port,
            notify_after_seconds=notify_after_seconds,
        )
        self._deploy, self._relay_command, self._use_postgres = deploy, relay_command, use_postgres
        self._say = say
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """The stack, running.

        Raises:
            DataDirBusyError: another stack runs on the data directory.
            PortBusyError: a port that was asked for is taken.
            PartFailedError: a part ended, or was not ready in time.
            StackFailedError: the emulator could not make a resource.
        """
        begun = time.monotonic()
        with ExitStack() as undo:
            (self._data_dir / "logs").mkdir(parents=True, exist_ok=True)
            undo.enter_context(sole_use(self._data_dir))
            undo.enter_context(signals.handling(signals.leave))
            with signals.hurrying() as hurry:
                end_leftovers(self._data_dir, self._say, hurry)
            if hurry.is_set():
                raise KeyboardInterrupt
            self._start(undo)
            self._undo = undo.pop_all()
        self._say(
            f"ready after {time.monotonic() - begun:.0f} s: Prefect on {self.description.prefect_url}, "
            f"AWS on {self.description.aws_endpoint_url}, state and logs in {self._data_dir}"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop all parts, the last one first, and end whatever they left behind."""
        self._undo.__exit__(kind, error, traceback)

    @property
    def description(self) -> StackDescription:
        """Where everything is, and of which processes it consists at the moment."""
        return self._record.description

    def environment(self) -> dict[str, str]:
        """What points `prefect`, `aws` and `sensor-ingest` at this stack."""
        return dict(self.description.environment)

    def wait_forever(self) -> None:
        """Return on Ctrl-C, SIGTERM, or the end of the terminal. Only the main thread can wait for these."""
        try:
            threading.Event().wait()
        except (KeyboardInterrupt, SystemExit):
            self._say("stopping")

    def _start(self, undo: ExitStack) -> None:
        _clear_folders(self._data_dir)
        record = self._record = StackRecord(self._plan())
        supervisor = Supervisor(self._say, record.started)
        undo.callback(self._stop, supervisor, record)
        environment = child_environment(self.description)
        startup = Startup(self.description, environment, supervisor, self._say, use_postgres=self._use_postgres)
        self.outputs = startup.run(self._deploy, self._relay_command)
        record.ready()

    def _stop(self, supervisor: Supervisor, record: StackRecord) -> None:
        with signals.hurrying() as hurry:
            supervisor.stop(
                hurry, lambda: end_runs(self._data_dir, record.description.parts.values(), self._say, hurry)
            )
        record.stopped()


def _clear_folders(data_dir: Path) -> None:
    """Empty what only lasts as long as a stack runs; the logs of last time are kept beside those of this time."""
    shutil.rmtree(data_dir / "tmp", ignore_errors=True)
    (data_dir / "tmp").mkdir()
    for log in (data_dir / "logs").glob("*.log"):
        log.replace(log.with_suffix(".log.previous"))
