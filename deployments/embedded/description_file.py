"""Writes `stack.json` while the stack runs."""

import os
import threading
from pathlib import Path

from deployments.embedded.description import StackDescription
from deployments.embedded.parts import PartProcess
from deployments.embedded.ports import choose_port
from deployments.embedded.processes import identify
from deployments.embedded.variables import stack_environment


class DescriptionFile:
    """The current description of the stack that this process runs; threads that restart parts update it."""

    def __init__(self, description: StackDescription) -> None:
        self.description = description
        self._lock = threading.Lock()
        description.write()

    def add_process(self, process: PartProcess) -> None:
        """Record the process as the current one of its part."""
        identity = identify(process.pid, process.part.stop_signal)
        with self._lock:
            self._write(parts={**self.description.parts, process.part.name: identity})

    def update(self, **fields: object) -> None:
        """Replace fields of the description."""
        with self._lock:
            self._write(**fields)

    def _write(self, **fields: object) -> None:
        self.description = self.description.model_copy(update=fields)
        self.description.write()


def new_description(
    data_dir: Path, *, prefect_port: int, aws_port: int, notify_after_seconds: float, auth_string: str | None = None
) -> StackDescription:
    """The description of the stack that this process is about to start.

    Raises:
        PortBusyError: a requested port is in use.
    """
    last = StackDescription.read(data_dir)
    last_prefect_port, last_aws_port = (last.prefect_port, last.aws_port) if last else (None, None)
    prefect_port = choose_port(prefect_port, "the Prefect server", "--prefect-port", last_port=last_prefect_port)
    aws_port = choose_port(
        aws_port, "the AWS emulator", "--aws-port", last_port=last_aws_port, reserved_port=prefect_port
    )
    description = StackDescription(
        data_dir=data_dir,
        prefect_port=prefect_port,
        aws_port=aws_port,
        environment={},
        supervisor=identify(os.getpid()),
    )
    environment = stack_environment(description, notify_after_seconds, auth_string)
    return description.model_copy(update={"environment": environment})
