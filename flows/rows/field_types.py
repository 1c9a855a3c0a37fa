"""The type of a declared field with its constraints."""

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa

from blocks.domain.feed.descriptor import Field, Storage
from flows.rows.types.datetimes import DatetimeType, DateType, EpochReader, PatternReader
from flows.rows.types.formats import ISO_DATE, ISO_DATETIME, TimeFormat
from flows.rows.types.instants import FIRST, LAST, Instant
from flows.rows.types.numbers import NumberType
from flows.rows.types.parsed import FieldType
from flows.rows.types.texts import BooleanType, StringType

# Source: "Naming rules and data types", partition key and sort key, in the Amazon DynamoDB developer guide.
KEY_BYTES = (2048, 1024)

DAY_AHEAD_SECONDS = 86_400
"""How far ahead of now the clock of a sensor may be, unless the feed has a maximum."""

_EPOCH_DIGITS = {"epoch": 0, "epoch-milliseconds": 3}


def type_of(field: Field, storage: Storage, key: Sequence[str], *, now: int) -> FieldType:
    """The type of a field, of values as they are stored in a table with this key."""
    constraints, is_key = field.constraints, field.name in key
    match field.type:
        case "string":
            most_bytes = KEY_BYTES[key.index(field.name)] if is_key else None
            return StringType(constraints.min_length, constraints.max_length, most_bytes)
        case "integer" | "number":
            return NumberType(
                integer=field.type == "integer",
                decimal_char=field.decimal_char if field.type == "number" else ".",
                group_char=field.group_char,
                minimum=_number(constraints.minimum),
                maximum=_number(constraints.maximum),
                canonical=is_key or constraints.enum is not None,
            )
        case "boolean":
            return BooleanType(field.true_values, field.false_values)
        case "date":
            reader = PatternReader(ISO_DATE if field.format == "default" else TimeFormat((field.format,)))
            return DateType(reader, *_bounds(reader, constraints.minimum, constraints.maximum))
        case "datetime":
            datetime_reader = _datetime_reader(field.format)
            first, last = _bounds(datetime_reader, constraints.minimum, constraints.maximum)
            if is_key and constraints.maximum is None:
                last = Instant(now + DAY_AHEAD_SECONDS)
            return DatetimeType(datetime_reader, storage.datetime, first, last)


def _datetime_reader(form: str) -> EpochReader | PatternReader:
    if form in _EPOCH_DIGITS:
        return EpochReader(_EPOCH_DIGITS[form])
    return PatternReader(ISO_DATETIME if form == "default" else TimeFormat((form,)))


def _number(bound: object) -> Decimal | None:
    return None if bound is None else Decimal(str(bound))


def _bounds(reader: EpochReader | PatternReader, minimum: object, maximum: object) -> tuple[Instant, Instant]:
    """The first and last instant, from texts in the format of the field."""
    first = FIRST if minimum is None else _instant(reader, str(minimum))
    return first, LAST if maximum is None else _instant(reader, str(maximum))


def _instant(reader: EpochReader | PatternReader, text: str) -> Instant:
    typed, (seconds, nanoseconds) = reader.read(pa.array([text], pa.string()))
    if not typed[0]:
        raise ValueError(f"the bound {text!r} is not in the format of its field")
    return Instant(int(seconds[0]), 0 if nanoseconds is None else int(nanoseconds[0]))
