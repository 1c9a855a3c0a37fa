"""The reasons for rejected rows, and their codes in arrays."""

import numpy as np
import numpy.typing as npt

ReasonCodes = npt.NDArray[np.int16]

VALID = 0
"""The code of a row that breaks no rule."""
FIELD_COUNT, ENCODING, ITEM_SIZE = 1, 2, 3

GENERAL_REASONS = ("field_count", "encoding", "item_size")
"""The reasons of rows of any feed, in the order of their codes; those of its fields follow."""


class Reasons:
    """The reasons of one feed: `NAME` and `NAME_range` of each field beside the general ones."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.names = (*GENERAL_REASONS, *(reason for name in fields for reason in (name, f"{name}_range")))
        """All reasons; the code of one is its place, counted from 1."""
        self._first = {name: len(GENERAL_REASONS) + 1 + 2 * place for place, name in enumerate(fields)}

    def of_type(self, field: str) -> int:
        """The code for a field that is missing, or not of its type or pattern."""
        return self._first[field]

    def of_range(self, field: str) -> int:
        """The code for a field that is out of its bounds."""
        return self._first[field] + 1
