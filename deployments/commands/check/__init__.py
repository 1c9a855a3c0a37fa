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
    feed: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="The feed: its name, or a descriptor such as feed.json.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The key that the file would land under, which says what feed it belongs to."),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="PATH", help="Where to write all rejected rows, as CSV.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Validate a file and write nothing. Exit code 0: accepted, 3: accepted in part, 4: refused."""
    if file.startswith("s3://") or feed or key:
        use_stack(data_dir)
    from deployments.commands.check.feed_choice import chosen_feed
    from deployments.commands.check.validation import EXIT_CODES, as_document, as_text, checked_file

    try:
        checked = checked_file(file, chosen_feed(file, feed, key), rejects)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(json.dumps(as_document(checked), indent=2) if as_json else as_text(checked))
    raise typer.Exit(EXIT_CODES[checked.validated.verdict])
