"""Counts, times and text from outside as people read them in emails, pages and terminals. Pure, no I/O."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from blocks.domain.models import FileReport
from blocks.domain.readings_summary import ReadingsSummary, joined
from blocks.domain.text import printable

REJECTS_SHOWN: Final = 3
"""Rejected rows per file in the email; the CSV of rejects has more."""

TEXT_SHOWN: Final = 100
"""Characters shown of a rejected row, or of a name in a title."""

PROBLEM_SHOWN: Final = 1000
"""Characters shown of the problem with a file."""

ADDRESS_SHOWN: Final = 400
"""Characters shown of an address."""

_URGENCY: Final = ("failed", "missing", "refused", "waiting", "superseded", "loading", "archived")

# Markdown's own characters, those that turn a plain address into a link, and those that begin a heading or a list.
_MEANING_IN_MARKDOWN: Final = re.compile(r"[|`*_\[\]\\~:@]|(?i:(?<=www)\.)|^[#+-]|(?<=\d)[.)](?= )")


def number(value: float) -> str:
    """`1,234`: a whole number with separators."""
    return f"{value:,.0f}"


def count_text(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def rows_text(count: int) -> str:
    return count_text(count, "row")


def row_totals(files: Sequence[FileReport]) -> str:
    """What became of the rows of these files, together.

    Valid rows of refused and failed files are counted apart: they are not in the table.
    """
    loaded = sum(file.loaded for file in files)
    not_loaded = sum(file.accepted for file in files) - loaded
    rows, replaced = sum(file.rows for file in files), sum(file.replaced for file in files)
    text = row_counts_text(rows, f"{loaded:,} loaded", replaced, sum(file.rejected for file in files))
    return f"{text}, {not_loaded:,} valid but not loaded" if not_loaded else text


def row_counts_text(rows: int, accepted: str, replaced: int, rejected: int) -> str:
    """`8 rows: 7 loaded, 1 replaced by a later row with the same sensor and time, 0 rejected`."""
    same_key = "replaced by a later row with the same sensor and time"
    return f"{rows_text(rows)}: {accepted}, {replaced:,} {same_key}, {rejected:,} rejected"


def reasons_text(reasons: Mapping[str, int]) -> str:
    """`encoding 1, value 11`: how many rows were rejected for each reason."""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))


def stored_rejects_text(file: FileReport) -> str:
    """`rejected rows`, or `first 10,000 of 25,000 rejected rows` if no more are stored."""
    if file.rejects_stored is None or file.rejects_stored == file.rejected:
        return "rejected rows"
    return f"first {file.rejects_stored:,} of {count_text(file.rejected, 'rejected row')}"


def utc_second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"


def utc_minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def one_line(text: str, longest: int = TEXT_SHOWN) -> str:
    """The text on one line, truncated to `longest` characters."""
    return truncated(" ".join(text.split()), longest)


def truncated(text: str, longest: int = TEXT_SHOWN) -> str:
    r"""The first `longest` characters of the text, with control characters spelled out (a line break as `\n`)."""
    shown = printable(text)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def markdown_text(text: str) -> str:
    """The text on one line, without meaning to Markdown or HTML."""
    # Of character references the Prefect UI knows a handful, `&lt;` among them; a backslash escapes all others.
    shown = escape(printable(" ".join(text.split())), quote=False)
    return _MEANING_IN_MARKDOWN.sub(r"\\\g<0>", shown)


def most_urgent_first(files: Sequence[FileReport]) -> list[FileReport]:
    """Files that may need an action come first; otherwise in the order given."""
    return sorted(files, key=lambda file: (_URGENCY.index(file.status), file.already_done, not file.rejected))


def combined_summary(files: Sequence[FileReport]) -> ReadingsSummary | None:
    """The summary of the readings that were loaded from these files; None if no file has one.

    `sensors` is a lower bound: the summaries count sensors and do not name them.
    """
    summaries = [file.summary for file in files if file.summary and file.loaded and not file.already_done]
    if not summaries:
        return None
    return ReadingsSummary(
        sensors=max(summary.sensors for summary in summaries),
        first=min(summary.first for summary in summaries),
        last=max(summary.last for summary in summaries),
        timeline=joined(summary.timeline for summary in summaries if summary.timeline),
    )


def coverage_text(files: Sequence[FileReport]) -> str:
    """`Readings of 5 sensors, from … to … UTC`; empty if no file has a summary."""
    summary = combined_summary(files)
    if not summary:
        return ""
    several = "at least " if sum(bool(file.summary and file.loaded) for file in files) > 1 else ""
    sensors = f"{several}{count_text(summary.sensors, 'sensor')}"
    return f"Readings of {sensors}, from {utc_second(summary.first)} to {utc_second(summary.last)} UTC"
