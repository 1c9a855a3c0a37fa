"""`sensor-ingest feed list`, `show`, `check` and `infer`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack

feed = typer.Typer(help="The kinds of file there are, each declared by a descriptor.", no_args_is_help=True)


@feed.command("list")
def list_feeds(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the feeds on the Prefect server; if none is named, those in files, which `deploy` saves."""
    use_stack(data_dir)
    from deployments.commands.feed.known import as_rows, known_feeds

    found = known_feeds()
    typer.echo(json.dumps([each.as_document() for each in found], indent=2) if as_json else as_rows(found))


@feed.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a feed, as `feed list` shows it.")],
    *,
    data_dir: DataDir = None,
    as_json: AsJson = False,  # noqa: ARG001 - a descriptor is JSON anyway
) -> None:
    """Print the descriptor of a feed."""
    use_stack(data_dir)
    from deployments.commands.feed.descriptor_text import descriptor_text
    from deployments.commands.feed.known import known_feed

    typer.echo(descriptor_text(known_feed(name).as_document()))


@feed.command()
def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", exists=True, dir_okay=False, help="A descriptor, as a file of JSON.")
    ],
    *,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Judge a descriptor, alone and beside the other feeds. Exit code 1: it has a fault."""
    use_stack(data_dir)
    from deployments.commands.feed.known import faults_of_file, judged_text

    faults, declared = faults_of_file(path)
    listed = [fault._asdict() for fault in faults]
    document = {"file": str(path), "feed": declared.name if declared else None, "valid": not faults, "faults": listed}
    typer.echo(json.dumps(document, indent=2) if as_json else judged_text(path, faults, declared))
    raise typer.Exit(1 if faults else 0)


@feed.command()
def infer(
    sample: Annotated[
        Path, typer.Argument(metavar="SAMPLE", exists=True, dir_okay=False, help="A CSV file, or the start of one.")
    ],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the feed; by default made of the file's name.")
    ] = None,
    as_json: AsJson = False,  # noqa: ARG001 - a descriptor is JSON anyway
) -> None:
    """Print a descriptor that fits a sample, ready to edit; on standard error, what is not sure about it."""
    from deployments.commands.feed.descriptor_text import descriptor_text
    from deployments.commands.feed.inference import inferred_feed

    found = inferred_feed(sample, name)
    typer.echo(descriptor_text(found.descriptor))
    for note in found.notes:
        typer.echo(note, err=True)
