"""Keeps `stack.json` true while a stack runs; written by the threads that start parts again."""

import os
import threading
from pathlib import Path

from deployments.embedded.description import StackDescription
from deployments.embedded.parts import PartProcess
from deployments.embedded.ports import choose_port
from deployments.embedded.processes import identify
from deployments.embedded.variables import stack_environment


class StackRecord:
    """The description of the stack that this process runs."""

    def __init__(self, description: StackDescription) -> None:
        self._lock = threading.Lock()
        self._update(description)

    @property
    def description(self) -> StackDescription:
        return self._description

    def started(self, process: PartProcess) -> None:
        """Note the process as the one that its part now is."""
        part = process.part
        identity = identify(process.popen.pid, part.stop_signal)
        with self._lock:
            self._update(
                self._description.model_copy(update={"parts": {**self._description.parts, part.name: identity}})
            )

    def ready(self) -> None:
        """Note that everything runs."""
        with self._lock:
            self._update(self._description.model_copy(update={"ready": True}))

    def stopped(self) -> None:
        """Note that nothing runs any more. The ports stay written down, for the next time."""
        with self._lock:
            self._update(self._description.model_copy(update={"ready": False, "parts": {}}))

    def _update(self, description: StackDescription) -> None:
        self._description = description
        description.write()


def plan_stack(data_dir: Path, *, prefect_port: int, aws_port: int, notify_after_seconds: float) -> StackDescription:
    """The description of a stack that this process is about to start.

    Raises:
        PortBusyError: a port that was asked for is taken.
    """
    earlier = StackDescription.read(data_dir)
    last_prefect_port, last_aws_port = (earlier.prefect_port, earlier.aws_port) if earlier else (None, None)
    prefect_port = choose_port(prefect_port, "the Prefect server", "--prefect-port", last_time=last_prefect_port)
    aws_port = choose_port(aws_port, "the AWS emulator", "--aws-port", last_time=last_aws_port, taken=prefect_port)
    description = StackDescription(
        data_dir=data_dir,
        prefect_port=prefect_port,
        aws_port=aws_port,
        environment={},
        supervisor=identify(os.getpid()),
    )
    return description.model_copy(update={"environment": stack_environment(description, notify_after_seconds)})
