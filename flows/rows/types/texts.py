"""Strings and booleans."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocks.dynamodb.attributes import AttributeType
from flows.rows.arrays import to_integers, to_mask
from flows.rows.types.parsed import Parsed, all_of


class StringType:
    """Text of at most so many bytes, within a range of lengths in characters."""

    attribute_type: AttributeType = "S"
    column_type = pa.string()

    def __init__(self, shortest: int | None, longest: int | None, most_bytes: int | None) -> None:
        self._shortest, self._longest, self._most_bytes = shortest, longest, most_bytes

    def parse(self, texts: pa.StringArray) -> Parsed:
        typed, in_range = all_of(texts), all_of(texts)
        if self._most_bytes is not None:
            typed = to_integers(pc.binary_length(texts)) <= self._most_bytes
        if self._shortest is not None or self._longest is not None:
            characters = to_integers(pc.utf8_length(texts))
            in_range &= characters >= (self._shortest or 0)
            in_range &= characters <= (np.iinfo(np.int32).max if self._longest is None else self._longest)
        return Parsed(texts, typed, in_range)


class BooleanType:
    """One of the texts for true or for false."""

    attribute_type: AttributeType = "BOOL"
    column_type = pa.bool_()

    def __init__(self, true_values: Sequence[str], false_values: Sequence[str]) -> None:
        self._true, self._false = (pa.array(values, pa.string()) for values in (true_values, false_values))

    def parse(self, texts: pa.StringArray) -> Parsed:
        true = pc.is_in(texts, self._true)
        return Parsed(true, to_mask(pc.or_(true, pc.is_in(texts, self._false))), all_of(texts))
