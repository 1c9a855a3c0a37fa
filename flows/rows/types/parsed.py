"""What a type makes of the texts of a field."""

from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from blocks.dynamodb.attributes import AttributeType
from flows.rows.arrays import Mask


class Parsed(NamedTuple):
    """The result for each text of a field."""

    values: pa.Array
    """As stored in the table; undefined where a rule is broken."""
    typed: Mask
    """Whether the text is of the type."""
    in_range: Mask
    """Whether the value is within the bounds; undefined where the text is not of the type."""


class FieldType(Protocol):
    """A type with its constraints."""

    attribute_type: AttributeType
    """The type of the attribute in DynamoDB."""
    column_type: pa.DataType
    """The type of the values."""

    def parse(self, texts: pa.StringArray) -> Parsed:
        """The values of texts, none of which is null."""


def all_of(texts: pa.Array, *, value: bool = True) -> Mask:
    return np.full(len(texts), value, np.bool_)
