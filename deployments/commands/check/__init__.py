"""`sensor-ingest check`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or an address like s3://bucket/incoming/x.csv.")],
    *,
    rejects: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="PATH", help="Where to write all rejected rows, as CSV.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Validate a file and write nothing. Exit code 0: accepted, 3: accepted in part, 4: refused."""
    if file.startswith("s3://"):
        use_stack(data_dir)
    from deployments.commands.check.validation import EXIT_CODES, as_document, as_text, validated_file

    try:
        validated = validated_file(file, rejects)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(json.dumps(as_document(file, validated), indent=2) if as_json else as_text(file, validated))
    raise typer.Exit(EXIT_CODES[validated.verdict])
