"""`sensor-ingest doctor`."""

import json

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def doctor(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check everything that a run needs, and print the remedy for what is missing. Exit code 1: there is a problem."""
    use_stack(data_dir)
    from deployments.doctor import as_document, as_text, is_healthy, run_checks

    results = list(run_checks())
    typer.echo(json.dumps(as_document(results), indent=2) if as_json else as_text(results))
    raise typer.Exit(0 if is_healthy(results) else 1)
