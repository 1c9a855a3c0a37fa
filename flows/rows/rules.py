"""The rules about the fields of a row, each checked for all rows of a block together."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.rows.arrays import Integers, Mask, filter_rows, full_match, to_integers, to_mask
from flows.rows.decimals import DECIMAL, PLAIN_DECIMAL, dynamodb_number
from flows.rows.settings import COLUMNS, REASONS, Reason, ValidationSettings

ReasonCodes = npt.NDArray[np.int8]
VALID = 0
"""The code of a row that breaks no rule."""

# Source: "Naming rules and data types", partition key, in the Amazon DynamoDB developer guide.
DYNAMODB_KEY_BYTES = 2048

_TIMESTAMP_DIGITS = 18  # so many fit into 64 bits, and every timestamp that `ValidationSettings` allows has fewer


def reason_code(reason: Reason) -> int:
    """The code of a reason in arrays; never `VALID`."""
    return REASONS.index(reason) + 1


class FieldValidator:
    """Checks fields against the rules of one file. The latest timestamp is the same for all rows."""

    def __init__(self, settings: ValidationSettings) -> None:
        self._sensor_id = settings.sensor_id_pattern
        self._earliest, self._latest = settings.earliest, settings.last_second()

    def validate(self, fields: pa.RecordBatch) -> tuple[ReasonCodes, pa.RecordBatch]:
        """A code for each row, `VALID` or that of the first rule it breaks; and the valid rows as readings.

        Columns of `fields`: `COLUMNS`, all text. Columns of the readings: `sensor_id` (string), `timestamp` (int64,
        epoch seconds), `value` (string, a decimal that DynamoDB stores exactly).
        """
        timestamps = parse_timestamps(fields["timestamp"])
        storable, values = to_dynamodb_numbers(fields["value"])
        known = self._sensor_ids(fields["sensor_id"])
        in_range = (self._earliest <= timestamps) & (timestamps <= self._latest)
        valid = known & in_range & storable
        codes = np.zeros(len(fields), np.int8)
        if not valid.all():
            codes[~valid] = _first_broken_rules(filter_rows(fields, ~valid), known[~valid], in_range[~valid])
        readings = pa.RecordBatch.from_arrays([fields["sensor_id"], timestamps, values], names=COLUMNS)
        return codes, filter_rows(readings, valid)

    def _sensor_ids(self, texts: pa.StringArray) -> Mask:
        sizes = to_integers(pc.binary_length(texts))
        return full_match(texts, self._sensor_id) & (sizes > 0) & (sizes <= DYNAMODB_KEY_BYTES)


def _first_broken_rules(fields: pa.RecordBatch, known: Mask, in_range: Mask) -> ReasonCodes:
    """The code of the first broken rule of each row; every row breaks at least one."""
    rules: list[tuple[Reason, Mask]] = [
        ("sensor_id", known),
        ("timestamp", to_mask(pc.ascii_is_decimal(fields["timestamp"]))),
        ("timestamp_range", in_range),
        ("value", full_match(fields["value"], DECIMAL)),
    ]
    broken, codes = [~kept for _, kept in rules], [reason_code(reason) for reason, _ in rules]
    return np.select(broken, codes, reason_code("value_range")).astype(np.int8)


def parse_timestamps(texts: pa.StringArray) -> Integers:
    """Epoch seconds from texts of ASCII digits, with any number of leading zeros.

    -1, which is out of every range, for any other text and for numbers of more than 18 digits.
    """
    short = _short_digits(texts)
    timestamps = to_integers(_cast_where(short, texts))
    if not short.all():
        timestamps = timestamps.copy()
        stripped = pc.replace_substring_regex(texts.filter(pa.array(~short)), r"\A0+([0-9])", r"\1")
        timestamps[~short] = to_integers(_cast_where(_short_digits(stripped), stripped))
    return timestamps


def _short_digits(texts: pa.StringArray) -> Mask:
    return to_mask(pc.ascii_is_decimal(texts)) & (to_integers(pc.binary_length(texts)) <= _TIMESTAMP_DIGITS)


def _cast_where(numeric: Mask, texts: pa.StringArray) -> pa.Int64Array:
    return (texts if numeric.all() else pc.if_else(pa.array(numeric), texts, "-1")).cast(pa.int64())


def to_dynamodb_numbers(texts: pa.StringArray) -> tuple[Mask, pa.StringArray]:
    """Which texts are decimals that DynamoDB stores exactly, and each text in the form that DynamoDB takes.

    The second result is undefined where the first is false.
    """
    plain = full_match(texts, PLAIN_DECIMAL)
    if plain.all():
        return plain, texts
    others = pa.array(map(dynamodb_number, texts.filter(pa.array(~plain)).to_pylist()), pa.string())
    storable = plain.copy()
    storable[~plain] = to_mask(others.is_valid())
    return storable, pc.replace_with_mask(texts, pa.array(~plain), others) if (storable != plain).any() else texts
