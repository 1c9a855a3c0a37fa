"""The embedded stack as a context manager."""

import os
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
from deployments.embedded.description import StackDescription
from deployments.embedded.description_file import DescriptionFile, new_description
from deployments.embedded.lock import exclusive_lock
from deployments.embedded.orphaned_processes import end_flow_runs, end_orphaned_processes
from deployments.embedded.parts import Log
from deployments.embedded.signals import force_on_signal, handle_stop_signals, raise_exit
from deployments.embedded.startup import RELAY_COMMAND, Deploy, Startup
from deployments.embedded.supervisor import Supervisor
from deployments.embedded.variables import child_environment
from deployments.settings import Settings


def print_line(line: str) -> None:
    """Print the line and flush it; a closed standard output does not stop the stack."""
    with suppress(OSError):
        print(line, flush=True)


class EmbeddedStack:
    """An AWS emulator, PostgreSQL, the Prefect server, a worker and the relay.

    `__enter__` returns when all parts run. Inside the block a part that dies is restarted. Ctrl-C, SIGTERM and SIGHUP
    leave the block. However it is left, all processes of the stack end. Inside the block files of this process and its
    children are their user's alone (umask 077).
    """

    outputs: StackOutputs
    """Outputs of the CloudFormation stack in the emulator."""

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
        warm_starts: bool | None = None,
        log: Log = print_line,
    ) -> None:
        """Start nothing yet.

        Args:
            data_dir: directory of all state and logs; it outlives the stack.
            prefect_port: of the Prefect server and its UI; 0 for the last port if it is free, else a random free port.
            aws_port: of the emulator; 0 as for `prefect_port`.
            notify_after_seconds: default wait of deployed runs between loading and email.
            deploy: called once the Prefect server and the CloudFormation stack exist, before the relay starts.
            relay_command: program that sends the queue's announcements to Prefect.
            use_postgres: use PostgreSQL if it runs here; False is for measurements with SQLite, which stays locked for
                too long under load.
            warm_starts: fork the processes of runs from a warm process; by default as `Settings.warm_starts` says.
            log: receives a line of text per event, from several threads.
        """
        settings = Settings()
        self._data_dir = data_dir.absolute()
        self._new_description = partial(
            new_description,
            self._data_dir,
            prefect_port=prefect_port,
            aws_port=aws_port,
            notify_after_seconds=notify_after_seconds,
            auth_string=settings.auth_string.get_secret_value() if settings.auth_string else None,
        )
        self._deploy, self._relay_command, self._use_postgres = deploy, relay_command, use_postgres
        self._warm_starts = settings.warm_starts if warm_starts is None else warm_starts
        self._log = log
        self._exit_callbacks = ExitStack()

    def __enter__(self) -> Self:
        """The stack, running.

        Raises:
            DataDirBusyError: another stack runs in the data directory.
            PortBusyError: a requested port is in use.
            PartFailedError: a part ended, or was not ready in time.
            StackFailedError: the emulator could not create a resource.
        """
        started = time.monotonic()
        with ExitStack() as exit_callbacks:
            exit_callbacks.callback(os.umask, os.umask(0o077))
            (self._data_dir / "logs").mkdir(parents=True, exist_ok=True)
            self._data_dir.chmod(0o700)  # whatever is in it already, as an older version may have made it
            exit_callbacks.enter_context(exclusive_lock(self._data_dir))
            exit_callbacks.enter_context(handle_stop_signals(raise_exit))
            with force_on_signal() as force:
                end_orphaned_processes(self._data_dir, self._log, force)
            if force.is_set():
                raise KeyboardInterrupt
            self._start(exit_callbacks)
            self._exit_callbacks = exit_callbacks.pop_all()
        self._log(
            f"ready after {time.monotonic() - started:.0f} s: Prefect on {self.description.prefect_url}, "
            f"AWS on {self.description.aws_endpoint_url}, state and logs in {self._data_dir}"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop all parts, the last one first, and end their child processes."""
        self._exit_callbacks.__exit__(kind, error, traceback)

    @property
    def description(self) -> StackDescription:
        """Addresses, variables and current processes."""
        return self._file.description

    def wait_forever(self) -> None:
        """Return on Ctrl-C, SIGTERM or SIGHUP. Call it in the main thread, which alone receives signals."""
        try:
            threading.Event().wait()
        except (KeyboardInterrupt, SystemExit):
            self._log("stopping")

    def _start(self, exit_callbacks: ExitStack) -> None:
        _clear_folders(self._data_dir)
        self._file = DescriptionFile(self._new_description())
        supervisor = Supervisor(self._log, self._file.add_process)
        exit_callbacks.callback(self._stop, supervisor)
        environment = child_environment(self.description)
        startup = Startup(
            self.description,
            environment,
            supervisor,
            self._log,
            use_postgres=self._use_postgres,
            warm_starts=self._warm_starts,
        )
        self.outputs = startup.run(self._deploy, self._relay_command)
        self._file.update(ready=True)

    def _stop(self, supervisor: Supervisor) -> None:
        with force_on_signal() as force:
            supervisor.stop(force, lambda: end_flow_runs(self._data_dir, self.description.parts, self._log, force))
        self._file.update(ready=False, parts={})  # the ports stay: the next stack prefers them


def _clear_folders(data_dir: Path) -> None:
    """Delete temporary files; rename the logs of the last stack to `*.log.previous`."""
    shutil.rmtree(data_dir / "tmp", ignore_errors=True)
    (data_dir / "tmp").mkdir()
    for log_file in (data_dir / "logs").glob("*.log"):
        log_file.replace(log_file.with_suffix(".log.previous"))
