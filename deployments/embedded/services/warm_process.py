"""The warm process, which forks the processes of flow runs."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import deployments.warm_starts
from deployments.embedded.description import StackDescription
from deployments.embedded.parts import Part, PartProcess
from deployments.warm_starts.status import Status, status

NAME: Final = "warm"
MODULES: Final = ("deployments.preloaded",)

_LAUNCHER: Final = Path(deployments.warm_starts.__path__[0]) / "launcher.py"

ONE_THREAD: Final = {
    # These libraries start threads when they are imported.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Variables for the warm process alone: a fork copies no threads."""


def warm_part(stack: StackDescription, environment: Mapping[str, str]) -> Part:
    """The warm process, ready when it answers, be it that it cannot fork."""
    return Part(
        name=NAME,
        title="The warm process",
        command=[sys.executable, "-m", deployments.warm_starts.__name__, str(_socket(stack)), *MODULES],
        environment={**environment, **ONE_THREAD},
        working_dir=stack.data_dir,
        log_file=stack.log_file(NAME),
        ready=lambda process: _answers(stack, process),
        stop_within_seconds=5,  # the runs that it waits for have been ended by then
    )


def warm_start_command(stack: StackDescription) -> tuple[str, ...]:
    """Has the warm process fork the process of a run, or starts it itself."""
    return (sys.executable, "-I", "-S", str(_LAUNCHER), str(_socket(stack)))


def warm_status(stack: StackDescription) -> Status:
    """What the warm process of the stack says about itself.

    Raises:
        OSError: it does not answer.
    """
    return status(_socket(stack))


def _socket(stack: StackDescription) -> Path:
    return stack.data_dir / "warm.sock"


def _answers(stack: StackDescription, process: PartProcess) -> bool:
    try:
        return warm_status(stack).pid == process.pid
    except OSError:
        return False
