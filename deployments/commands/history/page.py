"""The history page: one HTML file that fetches nothing, with plots over time and a table of the latest files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from blocks.domain.models import LedgerEntry
from deployments.commands.history.entries import latency
from flows.report.templates import template

FEWEST_PERIODS: Final = 12
MOST_PERIODS: Final = 48
"""Bars in each plot, at least and at most; only a history of decades has more."""

FILES_SHOWN: Final = 200
"""Most files in the table, the latest first."""

_PERIOD_LENGTHS: Final = [
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=30),
    timedelta(days=365),
]

Measure = Callable[[Sequence[LedgerEntry]], float]
"""A number about the files that were claimed in one period."""


class Period(NamedTuple):
    """A part of the time axis, and the files that were claimed in it."""

    start: datetime
    entries: list[LedgerEntry]


class Bar(NamedTuple):
    """The value of one period: `bad` is drawn on top of `good`."""

    start: datetime
    good: float
    bad: float


@dataclass(frozen=True)
class BarChart:
    """One plot of the page: a bar for each period."""

    title: str
    bars: list[Bar]

    @property
    def tallest(self) -> float:
        return max([1.0, *(bar.good + bar.bad for bar in self.bars)])


def history_page(entries: Sequence[LedgerEntry], made_at: datetime) -> str:
    """The page about these entries, the last claimed first."""
    periods = _periods(entries)
    charts = [
        _chart("Files", periods, lambda claimed: len(claimed) - _failures(claimed), _failures),
        _chart("Rows loaded", periods, lambda claimed: sum(entry.loaded for entry in claimed)),
        _chart("Rows rejected", periods, lambda _: 0, lambda claimed: sum(entry.rejected for entry in claimed)),
        _chart("Seconds from landing to loaded, median", periods, _median_latency),
    ]
    return template(Path(__file__).with_name("page.html.j2")).render(
        entries=entries,
        loaded=sum(entry.status == "archived" for entry in entries),
        made_at=made_at,
        charts=charts if periods else [],
        files=entries[:FILES_SHOWN],
    )


def _periods(entries: Sequence[LedgerEntry]) -> list[Period]:
    """Periods of equal length, from the first claim or earlier until the last claim."""
    if not entries:
        return []
    moments = [entry.claimed_at.astimezone(UTC) for entry in entries]
    covered = max(moments) - min(moments)
    length = next((length for length in _PERIOD_LENGTHS if covered / length < MOST_PERIODS), _PERIOD_LENGTHS[-1])
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    last = (max(moments) - epoch) // length
    first = min((min(moments) - epoch) // length, last - FEWEST_PERIODS + 1)
    periods = [Period(epoch + number * length, []) for number in range(first, last + 1)]
    for entry, moment in zip(entries, moments, strict=True):
        periods[(moment - epoch) // length - first].entries.append(entry)
    return periods


def _chart(title: str, periods: Sequence[Period], good: Measure, bad: Measure = lambda _: 0) -> BarChart:
    return BarChart(title, [Bar(start, good(claimed), bad(claimed)) for start, claimed in periods])


def _failures(claimed: Sequence[LedgerEntry]) -> int:
    return sum(entry.status not in ("archived", "waiting", "loading") for entry in claimed)


def _median_latency(claimed: Sequence[LedgerEntry]) -> float:
    seconds = [time.total_seconds() for entry in claimed if (time := latency(entry)) is not None]
    return median(seconds) if seconds else 0
