"""Ledger entries for the command `history`: found, and printed on a terminal or into a pipe."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blocks.domain.models import LedgerEntry
from blocks.domain.s3_keys import parse_s3_uri
from blocks.domain.text import printable
from flows.report.wording import number, utc_minute

_AGE: Final = re.compile(r"(\d+)\s*([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
STATUS_COLOURS: Final = {
    "archived": "green",
    "refused": "red",
    "failed": "red",
    "missing": "red",
    "superseded": "yellow",
}


def ledger_entries(file: str | None, since: datetime | None, limit: int) -> list[LedgerEntry]:
    """At most `limit` entries, the last claimed first: of all files, or of all versions of the file at one address.

    Raises:
        BlockMissingError: the Prefect server has no saved blocks.
        ValueError: `file` is not an `s3://` address.
    """
    from blocks.saved_blocks import load_blocks

    ledger = load_blocks().file_ledger
    if file is None:
        return ledger.with_emails(list(ledger.newest(limit, since)))
    versions = sorted(ledger.entries_of(*parse_s3_uri(file)), key=lambda entry: entry.claimed_at, reverse=True)
    return ledger.with_emails([entry for entry in versions if since is None or entry.claimed_at >= since][:limit])


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """The UTC moment of an age like `24h` or `7d`, a date, or a date and a time (UTC if it has no offset).

    Raises:
        ValueError: the text is none of them.
    """
    age = _AGE.fullmatch(text.strip())
    try:
        if age:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the latter before the year 1 and after 9999
        raise ValueError(f"{text!r} is neither an age like 24h or 7d nor a date like 2026-11-22") from error


def latency(entry: LedgerEntry) -> timedelta | None:
    """The time from landing to the terminal status; None if either moment is unknown."""
    return entry.finished_at - entry.landed_at if entry.finished_at and entry.landed_at else None


def print_entries(found: Sequence[LedgerEntry]) -> None:
    """Print the entries: as a table on a terminal, else as lines separated by tabs."""
    if sys.stdout.isatty():
        Console().print(_table(found))
        return
    for entry in found:
        print("\t".join(_cells(entry)))


def _table(found: Sequence[LedgerEntry]) -> Table:
    table = Table("when (UTC)", "file", "result", box=None, header_style="bold", pad_edge=False)
    for name in ("rows", "loaded", "bad", "took"):
        table.add_column(name, justify="right")
    for entry in found:
        when, file, result, *counts = _cells(entry)
        if entry.problem:
            file = f"{file}\n{printable(entry.problem)}"
        table.add_row(when, Text(file, overflow="fold"), Text(result, STATUS_COLOURS.get(entry.status, "")), *counts)
    return table


def _cells(entry: LedgerEntry) -> list[str]:
    took = latency(entry)
    return [
        utc_minute(entry.claimed_at),
        printable(entry.uri),
        entry.status,
        number(entry.rows),
        number(entry.loaded),
        number(entry.rejected),
        "" if took is None else duration_text(took),
    ]


def duration_text(took: timedelta) -> str:
    """`4 s`, `12 min`, `3 h`; 0 s for a negative one."""
    seconds = max(0, round(took.total_seconds()))
    if seconds < 100:  # noqa: PLR2004 - below two minutes, seconds are more precise
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h"  # noqa: PLR2004 - likewise for minutes
