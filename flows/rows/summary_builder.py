"""The `ReadingsSummary` of a file of any feed: its partition keys, its time range, a timeline of its first number."""

from collections.abc import Iterable
from typing import Protocol

import pyarrow as pa

from blocks.domain.readings_summary import ReadingsSummary
from flows.rows.aggregates import DistinctCodes, DistinctFingerprints, TimelineBuilder
from flows.rows.arrays import Integers
from flows.rows.row_keys import RowKeys
from flows.rows.rules import FieldRule, RowRules
from flows.rows.types.datetimes import DatetimeType
from flows.rows.types.numbers import NumberType


class Distinct(Protocol):
    """Counts different integers."""

    @property
    def count(self) -> int | None:
        """None if there are too many to count."""

    def add(self, codes: Integers, /) -> None:
        """Count the codes of one or more rows."""


class SummaryBuilder:
    """Builds the summary block by block. There is none for a feed whose key has no datetime."""

    def __init__(self, rules: RowRules, keys: RowKeys) -> None:
        self._partition = rules.key[0]
        self._distinct: Distinct | None = None
        if keys.has_partitions:
            self._distinct = DistinctFingerprints() if keys.partition_bits is None else DistinctCodes()
        in_rows = {rule.name: rule for rule in rules.fields}
        times = [name for name in rules.key if name in in_rows and isinstance(in_rows[name].type, DatetimeType)]
        self._time: FieldRule | None = in_rows[times[0]] if times else None
        numbers = (rule for rule in rules.fields if isinstance(rule.type, NumberType) and rule.name not in rules.key)
        self._value = next(numbers, None)
        self._timeline = TimelineBuilder()

    def add_partitions(self, codes: Integers | None) -> None:
        """Count the partition keys of one or more rows; their codes are None if all have the same."""
        if self._distinct and codes is not None and self._time:
            self._distinct.add(codes)

    def add(self, rows: pa.RecordBatch) -> None:
        """Count one or more stored rows."""
        if self._time and isinstance(self._time.type, DatetimeType):
            values = rows[self._value.name] if self._value else None
            self._timeline.add(self._time.type.seconds(rows[self._time.name]), values)

    def restart_timeline(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Make the timeline that of these rows only."""
        self._timeline = TimelineBuilder()
        for rows in batches:
            self.add(rows)

    def summary(self) -> ReadingsSummary | None:
        """The summary of all rows so far; None without rows or without a datetime in the key."""
        span = self._timeline.span
        if not self._time or span is None:
            return None
        return ReadingsSummary(
            sensors=self._distinct.count if self._distinct else 1,
            first=span[0],
            last=span[1],
            timeline=self._timeline.timeline() if self._value else None,
            partition_field=self._partition,
            time_field=self._time.name,
            value_field=self._value.name if self._value else None,
        )
