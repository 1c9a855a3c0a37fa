"""Which sensors and times accepted readings cover, and their values over time: seen as they pass, in bounded memory.

It costs one or two per cent of what validation does: counts, times and sensors are exact, while of a large file
only some of the values are looked at, since reading a decimal is what takes time.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from blocks.domain.readings_summary import MOST_BUCKETS, Bucket, ReadingsSummary, Timeline
from flows.rows.arrays import Numbers

Values = npt.NDArray[np.float64]

ALL_LOOKED_AT = 2**16
"""Readings that a file may have for all of its values to be looked at."""
ONE_IN = 32
"""Of so many values of a larger file one is looked at, chosen by chance."""

_SEVEN, _ONE = np.uint32(7), np.uint8(1)


class SensorCount:
    """How many different sensors there are, exactly: a bit for each that is possible, so 12 MiB for eight digits."""

    def __init__(self) -> None:
        self.sensors = 0
        self._seen = np.zeros(0, np.uint8)

    def add(self, codes: Numbers) -> None:
        short = codes.astype(np.uint32)
        largest_byte = int(short.max()) // 8
        if largest_byte >= len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(largest_byte + 1 - len(self._seen), np.uint8)])
        known = (self._seen[short >> np.uint32(3)] >> (short & _SEVEN).astype(np.uint8)) & _ONE
        if not known.all():
            new = pd.unique(short[known == 0])
            self.sensors += len(new)
            np.bitwise_or.at(self._seen, new >> np.uint32(3), _ONE << (new & _SEVEN).astype(np.uint8))


class TimelineBuilder:
    """Puts readings into buckets of time, which become twice as wide whenever there would be too many of them."""

    def __init__(self) -> None:
        self.first = self.last = 0
        self._rows = 0
        self._held: list[tuple[Numbers, pa.StringArray]] = []  # until it is known whether there are more than that
        self._shift = 0  # a bucket is 2**shift seconds wide
        self._start_over(0)
        self._random = np.random.default_rng(0)  # the same file has the same timeline

    def add(self, timestamps: Numbers, values: pa.StringArray) -> None:
        """Count some readings, at least one. Values are decimals that DynamoDB takes, hence finite as floats."""
        self._rows += len(timestamps)
        self._held.append((timestamps, values))
        if self._rows > ALL_LOOKED_AT:
            self._look_at_held(ONE_IN)

    def timeline(self) -> Timeline | None:
        """All readings so far; none if there are none."""
        one_in = ONE_IN if self._rows > ALL_LOOKED_AT else 1
        self._look_at_held(one_in)
        width = 1 << self._shift
        with np.errstate(invalid="ignore"):
            means = self._sums / self._known  # NaN where no value was looked at
        buckets = [
            Bucket(
                start := (self._base + place) * width,
                start + width,
                int(self._counts[place]),
                float(self._lows[place]) if self._known[place] else np.nan,
                float(means[place]),
                float(self._highs[place]) if self._known[place] else np.nan,
            )
            for place in np.flatnonzero(self._counts).tolist()
        ]
        return Timeline.of(width, buckets, one_in) if buckets else None

    def summary(self, sensors: int) -> ReadingsSummary | None:
        """The same with the number of sensors; none if there are no readings."""
        timeline = self.timeline()
        if timeline is None:
            return None
        return ReadingsSummary(sensors=sensors, first=self.first, last=self.last, timeline=timeline)

    def _look_at_held(self, one_in: int) -> None:
        for timestamps, values in self._held:
            self._look_at(timestamps, values, one_in)
        self._held.clear()

    def _look_at(self, timestamps: Numbers, values: pa.StringArray, one_in: int) -> None:
        self._make_room(int(timestamps.min()), int(timestamps.max()))
        places = (timestamps >> self._shift) - self._base
        self._counts += np.bincount(places, minlength=MOST_BUCKETS)
        if one_in > 1:
            some = self._some(len(places), one_in)
            places, values = places[some], values.take(pa.array(some))
        numbers = values.cast(pa.float64()).to_numpy()
        self._known += np.bincount(places, minlength=MOST_BUCKETS)
        self._sums += np.bincount(places, numbers, minlength=MOST_BUCKETS)
        np.minimum.at(self._lows, places, numbers)
        np.maximum.at(self._highs, places, numbers)

    def _some(self, rows: int, one_in: int) -> Numbers:
        """One row of each so many, by chance: of sensors that take turns, all are met."""
        strides = np.arange(0, rows, one_in, dtype=np.int64)
        chosen: Numbers = np.minimum(strides + self._random.integers(0, one_in, len(strides)), rows - 1)
        return chosen

    def _make_room(self, first: int, last: int) -> None:
        self.first = min(self.first, first) if self._counts.any() else first
        self.last = max(self.last, last) if self._counts.any() else last
        shift = self._shift
        while (self.last >> shift) - (self.first >> shift) >= MOST_BUCKETS:
            shift += 1
        base = self.first >> shift
        if (shift, base) == (self._shift, self._base):
            return
        old = np.flatnonzero(self._counts)
        places = ((old + self._base) >> (shift - self._shift)) - base
        counts, known, sums, lows, highs = self._counts, self._known, self._sums, self._lows, self._highs
        self._shift = shift
        self._start_over(base)
        np.add.at(self._counts, places, counts[old])
        np.add.at(self._known, places, known[old])
        np.add.at(self._sums, places, sums[old])
        np.minimum.at(self._lows, places, lows[old])
        np.maximum.at(self._highs, places, highs[old])

    def _start_over(self, base: int) -> None:
        self._base = base  # the number of the first bucket
        self._counts = np.zeros(MOST_BUCKETS, np.int64)
        self._known = np.zeros(MOST_BUCKETS, np.int64)  # readings whose values were looked at
        self._sums: Values = np.zeros(MOST_BUCKETS)
        self._lows: Values = np.full(MOST_BUCKETS, np.inf)
        self._highs: Values = np.full(MOST_BUCKETS, -np.inf)
