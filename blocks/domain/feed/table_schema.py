"""Table Schema: the fields of a row, their types and constraints, and the key.

Source: "Table Schema", Data Package standard, v2. `epoch` and `epoch-milliseconds`, formats of a datetime, are ours.
"""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import BeforeValidator, StrictFloat, StrictInt, StrictStr
from pydantic import Field as Property
from typing_extensions import TypedDict  # with Python 3.11 pydantic does not take that of typing

from blocks.domain.feed.properties import Described, Descriptor

FieldTypeName = Literal["string", "integer", "number", "boolean", "date", "datetime"]
Bound = StrictInt | StrictFloat | StrictStr
"""A bound or another value, as a number of JSON or as text in the format of its field."""

TRUE_VALUES: Final = ("true", "True", "TRUE", "1")
FALSE_VALUES: Final = ("false", "False", "FALSE", "0")

_LABELLED: Final = {"value", "label"}

MOST_FIELDS: Final = 500
"""The most fields of a feed; our own limit. A row of so many is within the 64 KiB that a line may have."""


def _texts_of(values: Any) -> Any:  # noqa: ANN401 - pydantic hands over what the descriptor has
    """The values, where some are objects with a `value` and a `label`, as the standard permits it."""
    if not isinstance(values, list | tuple):
        return values
    return [each["value"] if isinstance(each, dict) and _LABELLED >= {*each} >= {"value"} else each for each in values]


class LabelledValue(TypedDict):
    """A missing value with what it means."""

    value: str
    label: NotRequired[str]


MissingValues = Annotated[
    tuple[str, ...], BeforeValidator(_texts_of, json_schema_input_type=tuple[str | LabelledValue, ...])
]


class Constraints(Descriptor):
    """What a value has to be beside of its type."""

    required: bool | None = Property(default=None, description="Whether a row without the value is rejected.")
    pattern: str | None = Property(
        default=None, description="Regular expression in RE2's syntax that matches the whole of a string."
    )
    enum: tuple[Bound, ...] | None = Property(default=None, min_length=1, description="The values there are.")
    minimum: Bound | None = Property(
        default=None, description="The least number, or the first date or datetime in the field's format."
    )
    maximum: Bound | None = Property(
        default=None,
        description="The greatest number, or the last date or datetime in the field's format. Without it, a datetime "
        "of the key is at most a day ahead of now.",
    )
    min_length: int | None = Property(default=None, ge=0, description="The least number of characters.")
    max_length: int | None = Property(default=None, ge=1, description="The greatest number of characters.")


class Field(Described):
    """One field of a row, which is an attribute of the item in the table."""

    name: str = Property(
        min_length=1,
        max_length=255,
        description="Name of the column in a header, and of the attribute in the table.",
    )
    type: FieldTypeName = Property(description="Type of its values.")
    format: str = Property(
        default="default",
        min_length=1,
        description="Of a date or datetime: the standard's default, a pattern of strptime, or for a datetime epoch or "
        "epoch-milliseconds. Without an offset, it is in UTC.",
    )
    constraints: Constraints = Constraints()
    example: Any = Property(default=None, description="For people.")
    rdf_type: str | None = Property(default=None, description="For other tools.")
    missing_values: MissingValues | None = Property(
        default=None, description="Texts that mean that there is no value; none: those of the schema."
    )
    decimal_char: str = Property(default=".", min_length=1, max_length=1, description="Decimal point of a number.")
    group_char: str | None = Property(
        default=None, min_length=1, max_length=1, description="Character that groups the digits of a number."
    )
    true_values: tuple[str, ...] = Property(default=TRUE_VALUES, min_length=1, description="Texts that mean true.")
    false_values: tuple[str, ...] = Property(default=FALSE_VALUES, min_length=1, description="Texts that mean false.")


def _key_of(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over what the descriptor has
    """The names of a key; a single name may stand for itself, as in version 1 of the standard."""
    return [value] if isinstance(value, str) else value


class Schema(Described):
    """The fields of a row, in the order that they have in a file without a header."""

    fields_: tuple[Field, ...] = Property(
        alias="fields", min_length=1, max_length=MOST_FIELDS, description="The fields of a row."
    )
    primary_key: Annotated[tuple[str, ...], BeforeValidator(_key_of, json_schema_input_type=str | tuple[str, ...])] = (
        Property(min_length=1, description="The partition key of the table, and its sort key if it has one.")
    )
    missing_values: MissingValues = Property(
        default=("",), description="Texts that mean that a field has no value: its attribute is left out of the item."
    )
    fields_match: Literal["exact", "equal", "subset", "superset", "partial"] = Property(
        default="exact", description="Whether a file may have more or fewer columns than fields, as the standard says."
    )
