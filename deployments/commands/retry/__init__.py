"""`sensor-ingest retry`."""

import json
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def retry(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="ADDRESS", help="Addresses under failed/ or refused/, or those they landed under."),
    ] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All files under failed/.")] = False,
    refused: Annotated[bool, typer.Option("--refused", help="All files under refused/.")] = False,
    since: Annotated[
        str | None,
        typer.Option(help="Only files moved there since: an age like 24h or 7d, or a date like 2026-11-22 (UTC)."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Move failed and refused files back into incoming/, to be loaded again. Exit code 1: a file was left."""
    if bool(addresses) == (failed or refused or since is not None):
        raise typer.BadParameter(
            "name files by their addresses, or all with --failed, --refused or both; with --since, those moved since"
        )
    use_stack(data_dir)
    from deployments.commands.history.entries import parse_since
    from deployments.commands.retry.moves import Retry

    try:
        start = parse_since(since) if since else None
        work = Retry()
        files = work.named(addresses) if addresses else work.listed(failed=failed, refused=refused, since=start)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    done = work.put_back(files)
    typer.echo(json.dumps(done.as_document(), indent=2) if as_json else str(done))
    raise typer.Exit(1 if done.left else 0)
