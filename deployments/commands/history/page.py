"""The history page: one HTML file that fetches nothing, with plots over time and a table of the latest files."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import typer

from blocks.domain.models import LedgerEntry
from deployments.commands.history.entries import latency
from flows.report.templates import template

FEWEST_PERIODS: Final = 12
MOST_PERIODS: Final = 48
"""Bars in each plot, at least and at most; only a history of decades has more."""

FILES_SHOWN: Final = 200
"""Most files in the table, the latest first."""

_PERIODS: Final = {
    timedelta(minutes=1): "a minute",
    timedelta(minutes=10): "ten minutes",
    timedelta(hours=1): "an hour",
    timedelta(hours=6): "six hours",
    timedelta(days=1): "a day",
    timedelta(days=7): "a week",
    timedelta(days=30): "30 days",
    timedelta(days=365): "a year",
}
_PERIOD_LENGTHS: Final = list(_PERIODS)

_MOST_PERIODS_KEPT: Final = 4_000
"""The most periods whose totals are kept apart while entries are read; more are merged into longer ones.

A merged period is never longer than a bar: so many of one length cover more than 48 of the next.
"""
_LONGEST_KEPT: Final = timedelta(days=1)
"""The longest period that others are merged into while entries are read: longer ones are no multiples of each other."""

_COUNTS: Final = ("files", "good", "archived", "rows", "accepted", "loaded", "replaced", "rejected")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Totals:
    """What became of some files."""

    files: int = 0
    good: int = 0
    """Files that are loaded, or may be."""
    archived: int = 0
    rows: int = 0
    accepted: int = 0
    loaded: int = 0
    replaced: int = 0
    rejected: int = 0
    latencies: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds from landing to loaded."""

    def add(self, entry: LedgerEntry) -> None:
        self.files += 1
        self.good += entry.status in ("archived", "waiting", "loading")
        self.archived += entry.status == "archived"
        self.rows += entry.rows
        self.accepted += entry.accepted
        self.loaded += entry.loaded
        self.replaced += entry.replaced
        self.rejected += entry.rejected
        if (took := latency(entry)) is not None:
            self.latencies.append(took.total_seconds())

    def merge(self, other: "Totals") -> None:
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies.extend(other.latencies)


class Bar(NamedTuple):
    """The value of one period: `bad` is drawn on top of `good`."""

    start: datetime
    good: float
    bad: float


@dataclass(frozen=True)
class BarChart:
    """One plot of the page: a bar for each period."""

    title: str
    good: str
    """What the lower part of a bar stands for."""
    bad: str
    """What the upper part stands for; empty if the bars have none."""
    bars: list[Bar]

    @property
    def tallest(self) -> float:
        return max([1.0, *(bar.good + bar.bad for bar in self.bars)])


def write_page(path: Path, entries: Iterable[LedgerEntry], made_at: datetime) -> None:
    """Write the page; the file has the whole page or, if reading the entries fails, what it had before.

    Raises:
        typer.BadParameter: no file can be written there, which is known before the entries are read.
    """
    is_special = path.exists() and not path.is_file()  # such as /dev/stdout
    draft = path if is_special else path.with_name(f".{path.name}.new")
    with _errors_named():
        draft.touch()
    try:
        text = history_page(entries, made_at)
        with _errors_named():
            draft.write_text(text, encoding="utf-8")
            draft.replace(path) if draft != path else None
    finally:
        draft.unlink(missing_ok=True) if draft != path else None


@contextmanager
def _errors_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--html") from error


def history_page(entries: Iterable[LedgerEntry], made_at: datetime) -> str:
    """The page about these entries, the last claimed first; in memory there are only totals, and the files shown."""
    periods, files, totals = _Periods(), list[LedgerEntry](), Totals()
    for entry in entries:
        periods.add(entry)
        if len(files) < FILES_SHOWN:
            files.append(entry)
    bars = periods.of_bars() if files else {}
    for each in bars.values():
        totals.merge(each)
    return template(Path(__file__).with_name("page.html.j2")).render(
        totals=totals,
        made_at=made_at,
        charts=_charts(bars) if files else [],
        bar=_PERIODS[periods.bar_length] if files else "",
        files=files,
    )


class _Periods:
    """The totals of periods of equal length, which are merged into longer ones if they become too many."""

    def __init__(self) -> None:
        self._length = _PERIOD_LENGTHS[0]
        self._totals: dict[int, Totals] = {}
        self._first, self._last = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)

    def add(self, entry: LedgerEntry) -> None:
        self._first, self._last = min(self._first, entry.claimed_at), max(self._last, entry.claimed_at)
        self._totals.setdefault((entry.claimed_at - _EPOCH) // self._length, Totals()).add(entry)
        if len(self._totals) > _MOST_PERIODS_KEPT and self._length < _LONGEST_KEPT:
            longer = _PERIOD_LENGTHS[_PERIOD_LENGTHS.index(self._length) + 1]
            self._totals = self._merged(longer)
            self._length = longer

    @property
    def bar_length(self) -> timedelta:
        """Long enough for a plot of all periods."""
        covered = self._last - self._first
        return next((length for length in _PERIOD_LENGTHS if covered / length < MOST_PERIODS), _PERIOD_LENGTHS[-1])

    def of_bars(self) -> dict[datetime, Totals]:
        """The totals of all periods by their starts, from the first claim or earlier until the last claim."""
        length = self.bar_length
        last = (self._last - _EPOCH) // length
        first = min((self._first - _EPOCH) // length, last - FEWEST_PERIODS + 1)
        merged = self._merged(length)
        return {_EPOCH + number * length: merged.get(number, Totals()) for number in range(first, last + 1)}

    def _merged(self, length: timedelta) -> dict[int, Totals]:
        merged: dict[int, Totals] = {}
        for number, totals in self._totals.items():
            merged.setdefault(number * self._length // length, Totals()).merge(totals)
        return merged


def _charts(periods: Mapping[datetime, Totals]) -> list[BarChart]:
    def chart(
        title: str,
        good: str,
        bad: str,
        good_of: Callable[[Totals], float] = lambda _: 0,
        bad_of: Callable[[Totals], float] = lambda _: 0,
    ) -> BarChart:
        return BarChart(title, good, bad, [Bar(start, good_of(each), bad_of(each)) for start, each in periods.items()])

    return [
        chart(
            "Files",
            "loaded, or waiting for it",
            "refused, failed, replaced by a newer version, or gone",
            lambda each: each.good,
            lambda each: each.files - each.good,
        ),
        chart("Rows", "loaded", "rejected", lambda each: each.loaded, lambda each: each.rejected),
        chart(
            "Seconds from landing to loaded",
            "median of the files",
            "",
            lambda each: median(each.latencies) if each.latencies else 0,
        ),
    ]
