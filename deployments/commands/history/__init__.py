"""`sensor-ingest history`."""

from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack

SHOWN_BY_DEFAULT = 20
ALL = 1_000_000


def history(
    *,
    file: Annotated[str | None, typer.Option(metavar="s3://…", help="Show all versions of this one file.")] = None,
    since: Annotated[str | None, typer.Option(help="An age like 24h or 7d, or a date like 2026-11-22 (UTC).")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=ALL, help="Most entries to show.", show_default="20; all with --since or --html"),
    ] = None,
    html: Annotated[Path | None, typer.Option(dir_okay=False, metavar="PATH", help="Write a page with plots.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what was loaded, when, from which file and by which run, from the ledger; the latest first."""
    use_stack(data_dir)
    from datetime import UTC, datetime

    from deployments.commands.history.entries import (
        Counted,
        ledger_entries,
        parse_since,
        print_entries,
        printed_as_json,
    )
    from deployments.commands.history.page import write_page

    try:
        most = limit or (ALL if since or html else SHOWN_BY_DEFAULT)
        found = ledger_entries(file, parse_since(since) if since else None, most, whole=as_json)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    entries = Counted(printed_as_json(found) if as_json else found)
    if html:
        write_page(html, entries, datetime.now(UTC))
        typer.echo(f"{entries.count} file(s) in {html}", err=True)
    elif as_json:
        deque(entries, maxlen=0)
    else:
        print_entries(entries)
    if not entries.count:
        typer.echo(
            "The ledger has no entry for that: no run has claimed such a file. `sensor-ingest doctor` says why "
            "one that was uploaded is not; `sensor-ingest put FILE` uploads one.",
            err=True,
        )
