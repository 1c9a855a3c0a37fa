"""Conversions between Arrow arrays, which hold text, and NumPy arrays, which hold masks and integers."""

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from blocks.domain.expressions import whole

Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


def to_mask(flags: pa.BooleanArray) -> Mask:
    return cast("Mask", flags.to_numpy(zero_copy_only=False))


def to_integers(numbers: pa.Array) -> Integers:
    return cast("Integers", numbers.to_numpy())


def full_match(texts: pa.StringArray, expression: str) -> Mask:
    """True for each text that the RE2 expression matches as a whole."""
    return to_mask(pc.match_substring_regex(texts, whole(expression)))


def filter_rows(rows: pa.RecordBatch, mask: Mask) -> pa.RecordBatch:
    """The rows for which the mask is true; the same batch, not a copy, if it is true for all."""
    return rows if mask.all() else rows.filter(pa.array(mask))
