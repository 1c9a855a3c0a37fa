"""Ledger entries for the command `history`: found, and printed as they are read, on a terminal or into a pipe."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from textwrap import indent
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blocks.domain.models import LedgerEntry, RowCounts
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


SHOWN_FIELDS: Final = (
    *("file", "bucket", "key", "version", "status", "problem", "claimed_at", "landed_at", "finished_at"),
    *RowCounts.model_fields,
)
"""The fields that lines and page show, and what an entry needs; without the rest, an entry takes half the time."""

_ROWS_PER_TABLE: Final = 1_000
"""Entries whose columns are made equally wide on a terminal."""


def ledger_entries(
    file: str | None, since: datetime | None, limit: int, *, whole: bool = False
) -> Iterator[LedgerEntry]:
    """At most `limit` entries, the last claimed first: of all files, or of all versions of the file at one address.

    They are read on demand, so memory is bounded. Unless `whole`, fields that are not shown have their defaults.

    Raises:
        BlockMissingError: the Prefect server has no saved blocks.
        ValueError: `file` is not an `s3://` address.
    """
    from blocks.saved_blocks import load_blocks

    address, ledger = parse_s3_uri(file) if file is not None else None, load_blocks().file_ledger
    if address is None:
        found = ledger.newest(limit, since, () if whole else SHOWN_FIELDS)
    else:
        versions = sorted(ledger.entries_of(*address), key=lambda entry: entry.claimed_at, reverse=True)
        found = islice((entry for entry in versions if since is None or entry.claimed_at >= since), limit)
    return ledger.with_emails(found) if whole else found


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


class Counted:
    """The same entries; `count` is how many have been taken."""

    def __init__(self, entries: Iterable[LedgerEntry]) -> None:
        self.count = 0
        self._entries = entries

    def __iter__(self) -> Iterator[LedgerEntry]:
        for entry in self._entries:
            self.count += 1
            yield entry


def print_entries(found: Iterable[LedgerEntry]) -> None:
    """Print the entries, as a table on a terminal, else as lines separated by tabs."""
    rest, is_terminal = iter(found), sys.stdout.isatty()
    while group := list(islice(rest, _ROWS_PER_TABLE)):
        if is_terminal:
            Console().print(_table(group))
        else:
            sys.stdout.writelines("\t".join(_cells(entry)) + "\n" for entry in group)


def printed_as_json(found: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
    """The same entries, each printed when it is taken; together they are one JSON list."""
    separator = "["
    for entry in found:
        print(separator, indent(json.dumps(entry.model_dump(mode="json"), indent=2), "  "), sep="\n", end="")
        separator = ","
        yield entry
    print("[]" if separator == "[" else "\n]")


def _table(found: Iterable[LedgerEntry]) -> Table:
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
