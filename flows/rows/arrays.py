"""Shorthand for Arrow arrays whose masks and numbers are NumPy's."""

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from blocks.domain.expressions import whole

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


def to_mask(flags: pa.BooleanArray) -> Mask:
    return cast("Mask", flags.to_numpy(zero_copy_only=False))


def to_numbers(numbers: pa.Array) -> Numbers:
    return cast("Numbers", numbers.to_numpy())


def matches(texts: pa.StringArray, expression: str) -> Mask:
    """Which texts the RE2 expression matches from end to end."""
    return to_mask(pc.match_substring_regex(texts, whole(expression)))


def only(rows: pa.RecordBatch, wanted: Mask) -> pa.RecordBatch:
    """The wanted rows; all of them cost nothing."""
    return rows if wanted.all() else rows.filter(pa.array(wanted))
