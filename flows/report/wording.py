"""Numbers, names and foreign text as people are shown them: harmless in plain text, HTML and Markdown."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from blocks.domain.models import FileReport
from blocks.domain.readings_summary import ReadingsSummary, joined
from blocks.domain.text import printable

REJECTS_SHOWN: Final = 3
"""Refused rows that the email shows of each file; all of them are in the stored rejects."""

TEXT_SHOWN: Final = 100
"""Characters of a refused row, or of a name in a title, that people are shown."""

PROBLEM_SHOWN: Final = 1000
"""Characters of what was wrong that people are shown."""

ADDRESS_SHOWN: Final = 400
"""Characters of an address that people are shown."""

_URGENCY: Final = ("failed", "missing", "refused", "superseded", "loading", "loaded", "archived")

# Markdown's own, and what it would make links of by itself.
_MEANING_IN_MARKDOWN: Final = re.compile(r"[|`*_\[\]\\~:@]|(?i:(?<=www)\.)")


def rows_text(count: int) -> str:
    return counted(count, "row")


def counted(count: int, what: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def utc_second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"


def one_line(text: str, longest: int = TEXT_SHOWN) -> str:
    """The text on one line, cut where it is long."""
    return short(" ".join(text.split()), longest)


def short(text: str, longest: int = TEXT_SHOWN) -> str:
    shown = printable(text)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def html_text(text: str) -> str:
    """The text without meaning to HTML."""
    return escape(printable(" ".join(text.split())))


def markdown_text(text: str) -> str:
    """The text without meaning to Markdown or HTML."""
    # Of character references the Prefect UI knows a handful, `&lt;` among them, so all else goes by backslash.
    shown = escape(printable(" ".join(text.split())), quote=False)
    return _MEANING_IN_MARKDOWN.sub(r"\\\g<0>", shown)


def most_urgent_first(reports: Sequence[FileReport]) -> list[FileReport]:
    """Files that somebody may have to do something about come first, otherwise in their order."""
    return sorted(reports, key=lambda report: (_URGENCY.index(report.status), report.already_done, not report.rejected))


def covered(reports: Sequence[FileReport]) -> ReadingsSummary | None:
    """The readings that these files brought, as one; `sensors` is as many as there are at least."""
    summaries = [report.summary for report in reports if report.summary and report.loaded and not report.already_done]
    if not summaries:
        return None
    return ReadingsSummary(
        sensors=max(summary.sensors for summary in summaries),
        first=min(summary.first for summary in summaries),
        last=max(summary.last for summary in summaries),
        timeline=joined(summary.timeline for summary in summaries if summary.timeline),
    )


def coverage(reports: Sequence[FileReport]) -> str:
    """`Readings of 5 sensors, from … to … UTC`; nothing where no readings are known."""
    known = covered(reports)
    if not known:
        return ""
    several = "at least " if sum(bool(report.summary and report.loaded) for report in reports) > 1 else ""
    sensors = f"{several}{counted(known.sensors, 'sensor')}"
    return f"Readings of {sensors}, from {utc_second(known.first)} to {utc_second(known.last)} UTC"


def caption(summary: ReadingsSummary) -> str:
    """What the plot shows, for those who do not see it, and what it leaves out."""
    text = "Value of the readings over time: mean, and lowest to highest; below, how many there are"
    one_in = summary.timeline.one_in if summary.timeline else 1
    return text if one_in == 1 else f"{text}. Values: one in {one_in} was looked at"
