"""Which system a command talks to: an embedded stack that runs here, or what the environment names."""

import os
from pathlib import Path
from typing import Final

import typer

from deployments.embedded import StackDescription, running_stack

DEFAULT_DATA_DIR: Final = Path(".local")

_SAYS_WHERE: Final = ("SENSOR_INGEST_STACK", "AWS_ENDPOINT_URL", "PREFECT_API_URL")


def use_stack(data_dir: Path | None) -> None:
    """Point this process, and those it starts, at the embedded stack in `data_dir`.

    Without a data directory, variables that are set (as `sensor-ingest env` prints them, or those of an account of
    yours) come first, then a stack that runs in `.local/`, then whatever AWS and Prefect find by themselves.

    Raises:
        typer.Exit: no stack runs in the directory that was asked for.
    """
    if data_dir is None and any(os.environ.get(name) for name in _SAYS_WHERE):
        return
    if data_dir:
        os.environ.update(stack_in(data_dir).environment)
    elif stack := running_stack(DEFAULT_DATA_DIR):
        os.environ.update(stack.environment)


def stack_in(data_dir: Path) -> StackDescription:
    """The embedded stack that runs in that directory.

    Raises:
        typer.Exit: none does; the command that starts one was said.
    """
    stack = running_stack(data_dir)
    if stack is None:
        typer.echo(
            f"No embedded stack runs in {data_dir}; start one with: sensor-ingest up --data-dir {data_dir}", err=True
        )
        raise typer.Exit(2)
    return stack
