"""The key of each row, and the code of its partition key."""

import numpy as np
import pyarrow as pa

from blocks.domain.feed.descriptor import Feed
from flows.rows.arrays import Integers
from flows.rows.key_encoding import Code, DigitsCode, EnumCode, Fingerprints, IntegerCode, PackedKeys
from flows.rows.rules import FieldRule, RowRules
from flows.rows.types.datetimes import DatetimeType
from flows.rows.types.texts import StringType

_KEY_BITS = 64
MOST_BITMAP_BITS = 27
"""Codes of so many bits are counted in a bitmap, of up to 16 MiB."""


class RowKeys:
    """Keys of the rows of a file. A field from the object's key is the same in all rows, so it is left out."""

    def __init__(self, feed: Feed, rules: RowRules) -> None:
        by_field = {field.name: field for field in feed.table_schema.fields_}
        self._names = [name for name in rules.key if name not in rules.constants]
        self._partition = rules.key[0] if rules.key[0] in self._names else None
        codes = [_code(by_field[name].constraints.pattern, rules.by_name[name]) for name in self._names]
        fitting = [code for code in codes if code]
        fits = len(fitting) == len(codes) and sum(code.bits for code in fitting) <= _KEY_BITS
        self._packed = PackedKeys(fitting) if fits else None
        self._partition_code = codes[0] if self._partition else None
        self._fingerprints, self._partition_prints = Fingerprints(2), Fingerprints(1)
        self.words = 1 if fits else 2

    @property
    def has_partitions(self) -> bool:
        """Whether rows may have different partition keys."""
        return self._partition is not None

    @property
    def partition_bits(self) -> int | None:
        """The bits of the partitions' codes; None if they are fingerprints."""
        code = self._partition_code
        return code.bits if code and code.bits <= MOST_BITMAP_BITS else None

    def of(self, rows: pa.RecordBatch) -> tuple[Integers | None, Integers]:
        """The code of each row's partition key, None if all are the same; and the key of each row."""
        columns = [rows[name] for name in self._names]
        if not columns:
            return None, np.zeros(len(rows), np.int64)
        partitions = None
        if self._partition:
            code = None if self.partition_bits is None else self._partition_code
            partitions = code(columns[0]) if code else self._partition_prints(columns[:1])
        if self._packed is None:
            return partitions, self._fingerprints(columns)
        known = {0: partitions} if partitions is not None and self.partition_bits is not None else None
        return partitions, self._packed(columns, known)


def _code(pattern: str | None, rule: FieldRule) -> Code | None:
    """Integers for the values of a field; None if there are none of at most 64 bits."""
    if isinstance(rule.type, DatetimeType):
        return IntegerCode.between(*rule.type.bounds_in_units()) if rule.type.is_integer else None
    if rule.enum is not None:
        return EnumCode(tuple(rule.enum.to_pylist()))
    return DigitsCode.of_pattern(pattern) if pattern and isinstance(rule.type, StringType) else None
