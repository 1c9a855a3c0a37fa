"""`sensor-ingest env`."""

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson
from deployments.commands.stack_selection import DEFAULT_DATA_DIR, stack_in


def env(
    *,
    data_dir: Annotated[Path, typer.Option(help="Data directory of the embedded stack.")] = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print shell exports that point `prefect`, `aws` and this command at an embedded stack."""
    from deployments.embedded.description import UNWANTED_VARIABLES

    stack = stack_in(data_dir)
    if as_json:
        typer.echo(json.dumps(stack.environment, indent=2))
        return
    for name in UNWANTED_VARIABLES:
        if name in os.environ:
            typer.echo(f"unset {name}")
    for name, value in stack.environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
