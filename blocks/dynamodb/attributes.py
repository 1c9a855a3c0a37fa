"""Items as rows of an Arrow record batch: a column is an attribute, a null is an attribute that the item lacks."""

from collections.abc import Iterator
from typing import Any, Final, Literal, cast

import pyarrow as pa

AttributeType = Literal["S", "N", "BOOL"]

_TYPE: Final = b"attribute_type"
_KEY: Final = b"key"


def attribute(
    name: str, attribute_type: AttributeType, column_type: pa.DataType | None = None, *, key: bool = False
) -> pa.Field:
    """The column of an attribute, which may be of the item's key.

    Numbers are integers, or text, which is stored exactly; the default is text.
    """
    return pa.field(name, column_type or pa.string(), metadata={_TYPE: attribute_type} | ({_KEY: b"1"} if key else {}))


def key_names(schema: pa.Schema) -> tuple[str, ...]:
    """The names of the attributes of the key; none if none is declared."""
    return tuple(column.name for column in schema if column.metadata and _KEY in column.metadata)


def attribute_type_of(column: pa.Field) -> AttributeType:
    """The type of the attribute that a column is; without a declaration, that of the column's own type."""
    if column.metadata and (declared := column.metadata.get(_TYPE)):
        return cast("AttributeType", declared.decode())
    if pa.types.is_boolean(column.type):
        return "BOOL"
    return "N" if pa.types.is_integer(column.type) else "S"


def items_of(rows: pa.RecordBatch) -> Iterator[dict[str, dict[str, Any]]]:
    """Each row as an item of DynamoDB's API, such as `{"value": {"N": "10.1"}}`."""
    types = [attribute_type_of(column) for column in rows.schema]
    columns = [column if pa.types.is_boolean(column.type) else column.cast(pa.string()) for column in rows.columns]
    for values in zip(*(column.to_pylist() for column in columns), strict=True):
        item = zip(rows.schema.names, types, values, strict=True)
        yield {name: {type_: value} for name, type_, value in item if value is not None}
