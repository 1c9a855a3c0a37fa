"""The rules about the fields of a row, held against as many rows at a time as there are."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.rows.arrays import Mask, Numbers, matches, only, to_mask, to_numbers
from flows.rows.decimals import DECIMAL, PLAIN_DECIMAL, dynamodb_number
from flows.rows.rules import COLUMNS, REASONS, Reason, RowRules

Codes = npt.NDArray[np.int8]
GOOD = 0

# Source: "Naming rules and data types", partition key, in the Amazon DynamoDB developer guide.
DYNAMODB_KEY_BYTES = 2048

_SECOND_DIGITS = 18  # fit 64 bits, and any second that `RowRules` allows


def code_of(reason: Reason) -> int:
    """The number that stands for a reason in arrays; `GOOD` is none of them."""
    return REASONS.index(reason) + 1


class Checks:
    """One file's rules. "A day ahead of now" is the same moment for all of its rows."""

    def __init__(self, rules: RowRules) -> None:
        self._sensor_id = rules.sensor_id_pattern
        self._earliest, self._latest = rules.earliest, rules.last_second()

    def check(self, fields: pa.RecordBatch) -> tuple[Codes, pa.RecordBatch]:
        """For each row of texts `GOOD` or the code of the first rule it breaks; and the readings of the good ones.

        Readings: `sensor_id` (text), `timestamp` (64 bits, epoch seconds), `value` (decimal text for DynamoDB).
        """
        seconds = seconds_of(fields["timestamp"])
        storable, values = stored_values(fields["value"])
        known = self._sensor_ids(fields["sensor_id"])
        timely = (self._earliest <= seconds) & (seconds <= self._latest)
        good = known & timely & storable
        codes = np.zeros(len(fields), np.int8)
        if not good.all():
            codes[~good] = _broken_rules(only(fields, ~good), known[~good], timely[~good])
        return codes, only(pa.RecordBatch.from_arrays([fields["sensor_id"], seconds, values], names=COLUMNS), good)

    def _sensor_ids(self, texts: pa.StringArray) -> Mask:
        sizes = to_numbers(pc.binary_length(texts))
        return matches(texts, self._sensor_id) & (sizes > 0) & (sizes <= DYNAMODB_KEY_BYTES)


def _broken_rules(fields: pa.RecordBatch, known: Mask, timely: Mask) -> Codes:
    """For rows that break a rule, which one is the first."""
    rules: list[tuple[Reason, Mask]] = [
        ("sensor_id", known),
        ("timestamp", to_mask(pc.ascii_is_decimal(fields["timestamp"]))),
        ("timestamp_range", timely),
        ("value", matches(fields["value"], DECIMAL)),
    ]
    broken = np.select([~kept for _, kept in rules], [code_of(reason) for reason, _ in rules], code_of("value_range"))
    return broken.astype(np.int8)


def seconds_of(texts: pa.StringArray) -> Numbers:
    """The second that each text of ASCII digits names, however many zeros lead it; -1 for any other text."""
    short = _short_digits(texts)
    seconds = to_numbers(_cast_where(short, texts))
    if not short.all():
        seconds = seconds.copy()
        stripped = pc.replace_substring_regex(texts.filter(pa.array(~short)), r"\A0+([0-9])", r"\1")
        seconds[~short] = to_numbers(_cast_where(_short_digits(stripped), stripped))
    return seconds


def _short_digits(texts: pa.StringArray) -> Mask:
    return to_mask(pc.ascii_is_decimal(texts)) & (to_numbers(pc.binary_length(texts)) <= _SECOND_DIGITS)


def _cast_where(numeric: Mask, texts: pa.StringArray) -> pa.Int64Array:
    return (texts if numeric.all() else pc.if_else(pa.array(numeric), texts, "-1")).cast(pa.int64())


def stored_values(texts: pa.StringArray) -> tuple[Mask, pa.StringArray]:
    """Which decimals DynamoDB can store exactly, and these as it takes them; other texts mean nothing."""
    plain = matches(texts, PLAIN_DECIMAL)
    if plain.all():
        return plain, texts
    others = pa.array(map(dynamodb_number, texts.filter(pa.array(~plain)).to_pylist()), pa.string())
    storable = plain.copy()
    storable[~plain] = to_mask(others.is_valid())
    return storable, pc.replace_with_mask(texts, pa.array(~plain), others) if (storable != plain).any() else texts
