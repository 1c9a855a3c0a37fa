"""What the readings of a file look like, in a few kilobytes: for people to see, not to compute with.

Pure and light: it crosses the Prefect API and is kept in the ledger, so numbers are short text and never a float.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import isnan, nan
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_BUCKETS: Final = 48
"""Points in time that a timeline has at most: as many as a phone shows side by side."""

# Exponents end where DynamoDB's numbers do, far inside of what a float holds: no such text becomes infinite. Text,
# since DynamoDB's client takes no float, and since the pattern that pydantic gives a Decimal knows no exponents.
_SHOWN: Final = r"^(-?[0-9]{1,7}(\.[0-9]{1,12})?(e[+-]([0-9]{2}|1[0-3][0-9]))?)?$"
Shown = Annotated[str, Field(pattern=_SHOWN)]


class Bucket(NamedTuple):
    """The readings of some seconds: how many, and their lowest, mean and highest value; NaN where none is known."""

    start: int
    end: int
    readings: int
    low: float
    mean: float
    high: float


class Timeline(BaseModel):
    """Readings over time, in buckets of one width. Those without a reading are left out.

    A width is a power of two seconds and a bucket starts at a multiple of it, so timelines fit together.
    """

    model_config = ConfigDict(frozen=True)

    width: Annotated[int, Field(ge=1, description="Seconds that a bucket is wide.")]
    first: Annotated[int, Field(ge=0, description="Number of the first bucket; it starts so many widths after 1970.")]
    at: Annotated[list[int], Field(description="Numbers of the buckets, counted from the first.")]
    counts: Annotated[list[int], Field(description="Readings in each of them.")]
    lows: Annotated[list[Shown], Field(description="Lowest value in each of them, of those that were looked at.")]
    means: list[Shown]
    highs: list[Shown]
    one_in: Annotated[int, Field(ge=1, description="Of so many values one was looked at; 1 means that all were.")] = 1

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        if len({len(column) for column in (self.at, self.counts, self.lows, self.means, self.highs)}) != 1:
            raise ValueError("a timeline's columns are not equally long")
        return self

    @property
    def buckets(self) -> Iterator[Bucket]:
        for at, count, *values in zip(self.at, self.counts, self.lows, self.means, self.highs, strict=True):
            start = (self.first + at) * self.width
            low, mean, high = (float(value) if value else nan for value in values)
            yield Bucket(start, start + self.width, count, low, mean, high)

    @classmethod
    def of(cls, width: int, buckets: Sequence[Bucket], one_in: int = 1) -> Self:
        """The timeline of buckets that are that wide, in order, of which there is at least one."""
        first = buckets[0].start // width
        return cls(
            width=width,
            first=first,
            at=[bucket.start // width - first for bucket in buckets],
            counts=[bucket.readings for bucket in buckets],
            lows=[_shown(bucket.low) for bucket in buckets],
            means=[_shown(bucket.mean) for bucket in buckets],
            highs=[_shown(bucket.high) for bucket in buckets],
            one_in=one_in,
        )


class ReadingsSummary(BaseModel):
    """Which sensors and times the readings of a file cover."""

    model_config = ConfigDict(frozen=True)

    sensors: Annotated[int, Field(ge=1, description="Different sensors.")]
    first: Annotated[int, Field(ge=0, description="Earliest timestamp, in epoch seconds.")]
    last: Annotated[int, Field(ge=0, description="Latest timestamp, in epoch seconds.")]
    timeline: Annotated[Timeline | None, Field(description="None where there was no room for it.")] = None


def joined(timelines: Iterable[Timeline], most_buckets: int = MOST_BUCKETS) -> Timeline | None:
    """All these timelines as one of so many buckets at most; none without any."""
    known = list(timelines)
    buckets = [bucket for timeline in known for bucket in timeline.buckets]
    if not buckets:
        return None
    width = max(timeline.width for timeline in known)
    first, last = min(bucket.start for bucket in buckets), max(bucket.start for bucket in buckets)
    while last // width - first // width >= most_buckets:
        width *= 2
    together: dict[int, list[Bucket]] = {}
    for bucket in buckets:
        together.setdefault(bucket.start // width, []).append(bucket)
    sums = [_sum(place * width, width, parts) for place, parts in sorted(together.items())]
    return Timeline.of(width, sums, max(timeline.one_in for timeline in known))


def _sum(start: int, width: int, parts: Sequence[Bucket]) -> Bucket:
    known = [part for part in parts if not isnan(part.mean)]
    weight = sum(part.readings for part in known)
    return Bucket(
        start,
        start + width,
        sum(part.readings for part in parts),
        min((part.low for part in known), default=nan),
        sum(part.mean * (part.readings / weight) for part in known) if known else nan,
        max((part.high for part in known), default=nan),
    )


def _shown(value: float) -> str:
    return "" if isnan(value) else f"{value:.6g}"
