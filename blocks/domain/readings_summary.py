"""A summary of the readings of a file in a few kilobytes: sensors, time range, and a timeline for the plot.

It crosses the Prefect API and is stored in the ledger, so numbers are short text and never floats.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import isnan, nan
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_BUCKETS: Final = 48
"""The most points of a timeline: as many as a phone shows side by side."""

MOST_COUNTED: Final = 2**20
"""The most partition keys that are counted if only their fingerprints are known, 8 bytes each."""

# Text, as boto3 refuses floats and pydantic's pattern for a Decimal has no exponents. The exponents end where those of
# DynamoDB's numbers end, so no such text becomes an infinite float.
_SHOWN: Final = r"^(-?[0-9]{1,7}(\.[0-9]{1,12})?(e[+-]([0-9]{2}|1[0-3][0-9]))?)?$"
Shown = Annotated[str, Field(pattern=_SHOWN)]


FIRST_SECOND: Final = -62_135_596_800
"""The first second of the year 1, and so of a `datetime`."""
LAST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999, and so of a `datetime`."""


class Bucket(NamedTuple):
    """The readings of some seconds: their number, their lowest, mean and highest value; NaN if no value is known."""

    start: int
    end: int
    readings: int
    low: float
    mean: float
    high: float


class Timeline(BaseModel):
    """Readings over time, in buckets of one width. Empty buckets are left out.

    A width is a power of two seconds and a bucket starts at a multiple of it, so timelines can be joined.
    """

    model_config = ConfigDict(frozen=True)

    width: Annotated[int, Field(ge=1, description="Seconds that a bucket is wide.")]
    first: Annotated[int, Field(description="Number of the first bucket, counted in widths since 1970.")]
    at: Annotated[list[int], Field(description="Numbers of the buckets, counted from the first.")]
    counts: Annotated[list[int], Field(description="Readings in each of them.")]
    lows: Annotated[list[Shown], Field(description="Lowest sampled value in each of them.")]
    means: list[Shown]
    highs: list[Shown]
    one_in: Annotated[int, Field(ge=1, description="One of so many values was sampled; 1 means all.")] = 1

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
        """The timeline of these buckets, at least one, which are `width` seconds wide and in order."""
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
    """The sensors and the time range of the readings of a file."""

    model_config = ConfigDict(frozen=True)

    sensors: Annotated[int | None, Field(ge=1, description="Different partition keys; None if too many to count.")]
    first: Annotated[int, Field(ge=FIRST_SECOND, le=LAST_SECOND, description="Earliest time, in epoch seconds.")]
    last: Annotated[int, Field(ge=FIRST_SECOND, le=LAST_SECOND, description="Latest time, in epoch seconds.")]
    timeline: Annotated[Timeline | None, Field(description="None if the feed has no number, or to save space.")] = None
    partition_field: Annotated[str, Field(description="The field that is the partition key.")] = "sensor_id"
    time_field: Annotated[str, Field(description="The field that `first` and `last` are of.")] = "timestamp"
    value_field: Annotated[str | None, Field(description="The number that the timeline is of.")] = "value"


def joined(timelines: Iterable[Timeline], most_buckets: int = MOST_BUCKETS) -> Timeline | None:
    """These timelines as one, with at most so many buckets; None if there are none."""
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
