"""Counts, times and text from outside as people read them in emails, pages and terminals. Pure, no I/O."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from blocks.domain.models import FileReport
from blocks.domain.readings_summary import MOST_COUNTED, ReadingsSummary, joined
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
    """`8 rows: 7 loaded, 1 replaced by a later row with the same key, 0 rejected`."""
    same_key = "replaced by a later row with the same key"
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
    return datetime.fromtimestamp(second, UTC).isoformat(" ").removesuffix("+00:00")  # four digits in any year


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


def combined_summaries(files: Sequence[FileReport]) -> list[ReadingsSummary]:
    """The summaries of the rows that were loaded from these files: one for each feed, told apart by its fields.

    `sensors` is a lower bound: the summaries count partition keys and do not name them.
    """
    feeds: dict[tuple[str | None, ...], list[ReadingsSummary]] = {}
    for file in files:
        if (summary := file.summary) and file.loaded and not file.already_done:
            fields = (summary.partition_field, summary.time_field, summary.value_field)
            feeds.setdefault(fields, []).append(summary)
    return [_combined(summaries) for summaries in feeds.values()]


def _combined(summaries: Sequence[ReadingsSummary]) -> ReadingsSummary:
    counts = [summary.sensors for summary in summaries if summary.sensors]
    return summaries[0].model_copy(
        update={
            "sensors": max(counts) if len(counts) == len(summaries) else None,
            "first": min(summary.first for summary in summaries),
            "last": max(summary.last for summary in summaries),
            "timeline": joined(summary.timeline for summary in summaries if summary.timeline),
        }
    )


def coverage_texts(files: Sequence[FileReport]) -> list[str]:
    """`5 values of sensor_id, timestamp from … to … UTC` for each feed whose files have a summary."""
    several = "at least " if sum(bool(file.summary and file.loaded) for file in files) > 1 else ""
    texts = []
    for summary in combined_summaries(files):
        count = f"{several}{summary.sensors:,}" if summary.sensors else f"more than {MOST_COUNTED:,}"
        span = f"{utc_second(summary.first)} to {utc_second(summary.last)} UTC"
        texts.append(
            f"{count} values of {one_line(summary.partition_field)}, {one_line(summary.time_field)} from {span}"
        )
    return texts
