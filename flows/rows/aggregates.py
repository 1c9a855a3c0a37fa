"""What a `ReadingsSummary` consists of, built block by block in bounded memory: distinct keys, and a timeline.

Their cost is one or two per cent of validation. Counts and times are exact. The values of a large file are sampled, as
parsing decimals takes most of the time.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from blocks.domain.readings_summary import MOST_BUCKETS, MOST_COUNTED, Bucket, Timeline
from flows.rows.arrays import Integers, to_mask

Floats = npt.NDArray[np.float64]

MAX_UNSAMPLED_READINGS = 2**16
"""The most readings of a file whose values are all used."""
SAMPLED_ONE_IN = 32
"""Of a larger file, one value in so many is used, chosen at random."""

_SEVEN, _ONE = np.uint32(7), np.uint8(1)


class DistinctCodes:
    """The exact number of different codes, from a bitmap of them: up to 12 MiB for codes of eight digits."""

    def __init__(self) -> None:
        self.count: int = 0
        self._bitmap = np.zeros(0, np.uint8)

    def add(self, codes_of_rows: Integers) -> None:
        """Count the codes of one or more rows."""
        codes = codes_of_rows.astype(np.uint32)
        largest_byte = int(codes.max()) // 8
        if largest_byte >= len(self._bitmap):
            self._bitmap = np.concatenate([self._bitmap, np.zeros(largest_byte + 1 - len(self._bitmap), np.uint8)])
        known = (self._bitmap[codes >> np.uint32(3)] >> (codes & _SEVEN).astype(np.uint8)) & _ONE
        if not known.all():
            new = pd.unique(codes[known == 0])
            self.count += len(new)
            np.bitwise_or.at(self._bitmap, new >> np.uint32(3), _ONE << (new & _SEVEN).astype(np.uint8))


class DistinctFingerprints:
    """The number of different fingerprints, up to a limit."""

    def __init__(self) -> None:
        self.count: int | None = 0
        """None if there are more than the limit."""
        self._known = np.zeros(0, np.int64)

    def add(self, fingerprints: Integers) -> None:
        """Count the fingerprints of one or more rows."""
        if self.count is None:
            return
        found = np.sort(pd.unique(fingerprints))
        places = np.searchsorted(self._known, found)
        known = np.zeros(len(found), np.bool_)
        inside = places < len(self._known)
        known[inside] = self._known[places[inside]] == found[inside]
        if not known.all():
            self._known = np.insert(self._known, places[~known], found[~known])
            self.count = len(self._known)
            if self.count > MOST_COUNTED:
                self.count, self._known = None, np.zeros(0, np.int64)


class TimelineBuilder:
    """Aggregates readings in buckets of time. The width of all buckets doubles when `MOST_BUCKETS` do not suffice."""

    def __init__(self) -> None:
        self._first = self._last = 0
        self._rows = 0
        self._pending: list[
            tuple[Integers, pa.StringArray | None]
        ] = []  # until it is clear whether the values are sampled
        self._shift = 0  # a bucket is 2**shift seconds wide
        self._reset_buckets(0)
        self._random = np.random.default_rng(0)  # a fixed seed, so that the same file has the same timeline

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last timestamp; None without readings."""
        if not self._rows:
            return None
        self._aggregate_pending(self._one_in)
        return self._first, self._last

    def add(self, timestamps: Integers, values: pa.StringArray | None) -> None:
        """Count one or more readings.

        Values are decimals that DynamoDB stores, so they are finite as floats, or null; None if there are none.
        """
        self._rows += len(timestamps)
        self._pending.append((timestamps, values))
        if self._rows > MAX_UNSAMPLED_READINGS:
            self._aggregate_pending(SAMPLED_ONE_IN)

    @property
    def _one_in(self) -> int:
        return SAMPLED_ONE_IN if self._rows > MAX_UNSAMPLED_READINGS else 1

    def timeline(self) -> Timeline:
        """The timeline of all readings so far, at least one."""
        one_in = self._one_in
        self._aggregate_pending(one_in)
        width = 1 << self._shift
        with np.errstate(invalid="ignore"):
            means = self._sums / self._sampled  # NaN where no value was sampled
        buckets = [
            Bucket(
                start := (self._base + index) * width,
                start + width,
                int(self._counts[index]),
                float(self._lows[index]) if self._sampled[index] else np.nan,
                float(means[index]),
                float(self._highs[index]) if self._sampled[index] else np.nan,
            )
            for index in np.flatnonzero(self._counts).tolist()
        ]
        return Timeline.of(width, buckets, one_in)

    def _aggregate_pending(self, one_in: int) -> None:
        for timestamps, values in self._pending:
            self._aggregate(timestamps, values, one_in)
        self._pending.clear()

    def _aggregate(self, timestamps: Integers, values: pa.StringArray | None, one_in: int) -> None:
        """Add readings to their buckets: each to the count, one value in `one_in` to the sum, low and high."""
        self._cover(int(timestamps.min()), int(timestamps.max()))
        buckets = (timestamps >> self._shift) - self._base
        self._counts += np.bincount(buckets, minlength=MOST_BUCKETS)
        if values is None:
            return
        if one_in > 1:
            sample = self._sample(len(buckets), one_in)
            buckets, values = buckets[sample], values.take(pa.array(sample))
        if values.null_count:
            buckets, values = buckets[to_mask(values.is_valid())], values.drop_null()
        numbers = values.cast(pa.float64()).to_numpy()
        self._sampled += np.bincount(buckets, minlength=MOST_BUCKETS)
        self._sums += np.bincount(buckets, numbers, minlength=MOST_BUCKETS)
        np.minimum.at(self._lows, buckets, numbers)
        np.maximum.at(self._highs, buckets, numbers)

    def _sample(self, rows: int, one_in: int) -> Integers:
        """The indices of a sample: one row at random from each `one_in` consecutive rows.

        A fixed step would sample only some of the sensors of a file in which sensors alternate.
        """
        starts = np.arange(0, rows, one_in, dtype=np.int64)
        sample: Integers = np.minimum(starts + self._random.integers(0, one_in, len(starts)), rows - 1)
        return sample

    def _cover(self, first: int, last: int) -> None:
        """Make the buckets cover the timestamps from `first` to `last` too; merge the buckets if they become wider."""
        self._first = min(self._first, first) if self._counts.any() else first
        self._last = max(self._last, last) if self._counts.any() else last
        shift = self._shift
        while (self._last >> shift) - (self._first >> shift) >= MOST_BUCKETS:
            shift += 1
        base = self._first >> shift
        if (shift, base) == (self._shift, self._base):
            return
        old = np.flatnonzero(self._counts)
        new = ((old + self._base) >> (shift - self._shift)) - base
        counts, sampled, sums, lows, highs = self._counts, self._sampled, self._sums, self._lows, self._highs
        self._shift = shift
        self._reset_buckets(base)
        np.add.at(self._counts, new, counts[old])
        np.add.at(self._sampled, new, sampled[old])
        np.add.at(self._sums, new, sums[old])
        np.minimum.at(self._lows, new, lows[old])
        np.maximum.at(self._highs, new, highs[old])

    def _reset_buckets(self, base: int) -> None:
        self._base = base  # the number of the first bucket, counted in widths since 1970
        self._counts = np.zeros(MOST_BUCKETS, np.int64)
        self._sampled = np.zeros(MOST_BUCKETS, np.int64)  # readings whose values were used
        self._sums: Floats = np.zeros(MOST_BUCKETS)
        self._lows: Floats = np.full(MOST_BUCKETS, np.inf)
        self._highs: Floats = np.full(MOST_BUCKETS, -np.inf)
