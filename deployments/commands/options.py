"""Options that several commands have, and how `--json` keeps standard output for one document."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(help="Data directory of the embedded stack to use.", show_default=".local, if a stack runs there"),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
NotifyAfter = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds between loading and email.")]


@contextmanager
def json_alone(*, as_json: bool) -> Iterator[Callable[[str], None]]:
    """A function that prints the JSON document, if one is wanted; all other output then goes to standard error."""
    if not as_json:
        yield lambda _: None
        return
    standard_output = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda document: typer.echo(document, standard_output)
