"""Dates and datetimes."""

from typing import Final, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from blocks.dynamodb.attributes import AttributeType
from flows.rows.arrays import Integers, Mask, to_integers, to_mask
from flows.rows.types.formats import Part, TimeFormat
from flows.rows.types.instants import (
    DAY_SECONDS,
    FIRST,
    LAST,
    Instant,
    Instants,
    date_texts,
    days_from_civil,
    days_in_month,
    to_iso,
    to_units,
)
from flows.rows.types.parsed import Parsed

Storage = Literal["epoch-seconds", "epoch-milliseconds", "iso"]
Bytes = npt.NDArray[np.uint8]

_EPOCH_DIGITS: Final = 18  # so many fit into 64 bits, and no instant until the year 9999 has more
_BEYOND_ALL: Final = str(2**63 - 1)


class EpochReader:
    """Reads whole seconds or milliseconds since 1970, with any number of leading zeros."""

    def __init__(self, digits: int) -> None:
        """Read units of 10**-`digits` seconds."""
        self.fraction_digits = digits

    def read(self, texts: pa.StringArray) -> tuple[Mask, Instants]:
        """Which texts are numbers of ASCII digits, and their instants; one far from all bounds for other texts."""
        typed = to_mask(pc.ascii_is_decimal(texts))
        units = _parse_digits(texts, typed)
        if not self.fraction_digits:
            return typed, Instants(units)
        per_second = 10**self.fraction_digits
        seconds = units // per_second
        return typed, Instants(seconds, (units - seconds * per_second) * 10 ** (9 - self.fraction_digits))


class PatternReader:
    """Reads dates or datetimes of a format."""

    def __init__(self, time_format: TimeFormat) -> None:
        self._format = time_format
        self.fraction_digits = 9 if time_format.has_fraction else 0

    def read(self, texts: pa.StringArray) -> tuple[Mask, Instants]:
        """Which texts are of the format, and their instants; those of other texts are undefined."""
        typed = np.zeros(len(texts), np.bool_)
        seconds, nanoseconds = np.zeros((2, len(texts)), np.int64)
        sizes = to_integers(pc.binary_length(texts))
        for width in np.unique(sizes).tolist():
            rows = np.flatnonzero(sizes == width)
            for layout in self._format.layouts.get(width, []):
                of_layout, *instants = _parse_layout(_matrix(texts, rows, width), layout)
                found = rows[of_layout]
                typed[found], seconds[found], nanoseconds[found] = True, instants[0][of_layout], instants[1][of_layout]
                rows = rows[~of_layout]
                if not len(rows):
                    break
        if not self._format.padded:
            others = np.flatnonzero(~typed)
            for row, text in zip(others.tolist(), texts.take(pa.array(others)).to_pylist(), strict=True):
                if instant := self._format.parse_one(text):
                    typed[row], seconds[row], nanoseconds[row] = True, *instant
        return typed, Instants(seconds, nanoseconds if self.fraction_digits and nanoseconds.any() else None)


class DatetimeType:
    """An instant within bounds, stored as a number of seconds or milliseconds since 1970, or as text in UTC."""

    def __init__(
        self, reader: EpochReader | PatternReader, storage: Storage, first: Instant = FIRST, last: Instant = LAST
    ) -> None:
        self._reader, self._storage = reader, storage
        self.first, self.last = max(first, FIRST), min(last, LAST)
        self.attribute_type: AttributeType = "S" if storage == "iso" else "N"
        self._digits = {"epoch-seconds": 0, "epoch-milliseconds": 3, "iso": min(reader.fraction_digits, 6)}[storage]
        self.is_integer = storage != "iso" and reader.fraction_digits <= self._digits
        """Whether the values are 64-bit integers: no text has a fraction of the unit."""
        self.column_type = pa.int64() if self.is_integer else pa.string()

    def parse(self, texts: pa.StringArray) -> Parsed:
        typed, instants = self._reader.read(texts)
        in_range = instants.between(self.first, self.last)
        if self._storage == "iso" and instants.nanoseconds is not None:
            # Text sorts as time does only with the same number of digits everywhere.
            in_range &= instants.nanoseconds % 10 ** (9 - self._digits) == 0
        if not (typed & in_range).all():  # no conversion below is defined for other instants
            kept = typed & in_range
            instants = Instants(*(None if each is None else np.where(kept, each, 0) for each in instants))  # type: ignore[arg-type]  # seconds are never None
        return Parsed(self._stored(instants), typed, in_range)

    def bounds_in_units(self) -> tuple[int, int]:
        """The least and the greatest value of an integer column."""
        per_second = 10**self._digits
        return self.first.seconds * per_second, (self.last.seconds + 1) * per_second - 1

    def seconds(self, values: pa.Array) -> Integers:
        """Stored values, none of which is null, as seconds since 1970; fractions are cut off."""
        if self._storage == "iso":
            texts = pc.utf8_slice_codeunits(values, 0, len("2026-01-31T23:59:59")).to_numpy(zero_copy_only=False)
            return cast("Integers", texts.astype("datetime64[s]").astype(np.int64))
        if not self.is_integer:
            below_zero = pc.and_(pc.starts_with(values, "-"), pc.match_substring(values, ".")).cast(pa.int64())
            whole = pc.replace_substring_regex(values, r"\..*", "").cast(pa.int64())
            values = pc.subtract(whole, below_zero)
        return to_integers(values) // 10**self._digits if self._digits else to_integers(values)

    def _stored(self, instants: Instants) -> pa.Array:
        if self._storage == "iso":
            return to_iso(instants, self._digits)
        if not self.is_integer:
            return to_units(instants, self._digits)
        units = instants.seconds * 10**self._digits
        if self._digits and instants.nanoseconds is not None:
            units = units + instants.nanoseconds // 10 ** (9 - self._digits)
        return pa.array(units)


class DateType:
    """A day within bounds, stored as text such as `2026-01-31`."""

    attribute_type: AttributeType = "S"
    column_type = pa.string()

    def __init__(self, reader: PatternReader, first: Instant = FIRST, last: Instant = LAST) -> None:
        self._reader = reader
        self._first, self._last = first, last

    def parse(self, texts: pa.StringArray) -> Parsed:
        typed, instants = self._reader.read(texts)
        days = np.where(typed, instants.seconds // DAY_SECONDS, 0)
        return Parsed(date_texts(days), typed, instants.between(self._first, self._last))


def _parse_digits(texts: pa.StringArray, typed: Mask) -> Integers:
    """Texts of digits as integers; one beyond all bounds for other texts, and for numbers of more than 18 digits."""
    short = typed & (to_integers(pc.binary_length(texts)) <= _EPOCH_DIGITS)
    numbers = to_integers(_cast_where(short, texts))
    if not (typed == short).all():
        numbers = numbers.copy()
        long = typed & ~short
        stripped = pc.replace_substring_regex(texts.filter(pa.array(long)), r"\A0+([0-9])", r"\1")
        is_short = to_integers(pc.binary_length(stripped)) <= _EPOCH_DIGITS
        numbers[long] = to_integers(_cast_where(is_short, stripped))
    return numbers


def _cast_where(numeric: Mask, texts: pa.StringArray) -> pa.Int64Array:
    return (texts if numeric.all() else pc.if_else(pa.array(numeric), texts, _BEYOND_ALL)).cast(pa.int64())


def _matrix(texts: pa.StringArray, rows: Integers, width: int) -> Bytes:
    """The bytes of the texts in these rows, all of `width` bytes: a row of the result for each byte of the texts."""
    chosen = texts if len(rows) == len(texts) else texts.take(pa.array(rows))
    _, offsets, data = chosen.buffers()
    start = int(np.frombuffer(offsets, np.int32)[chosen.offset])
    matrix = np.frombuffer(data, np.uint8, len(rows) * width, start).reshape(len(rows), width)
    return np.ascontiguousarray(matrix.T)


def _parse_layout(columns: Bytes, layout: list[Part]) -> tuple[Mask, Integers, Integers]:
    """Which texts have this layout; and their seconds and nanoseconds, undefined for the others."""
    count = columns.shape[1]
    good = np.ones(count, np.bool_)
    found: dict[str, Integers] = {}
    offsets = np.zeros(count, np.int64)
    for directive, literal, start, width in layout:
        part = columns[start : start + width]
        if literal:
            for place, byte in enumerate(literal):
                good &= part[place] == byte
        elif directive == "z":
            right, offsets = _parse_zone(part)
            good &= right
        else:
            right, found[directive] = _parse_number(part)
            good &= right
    nanoseconds = (
        found["f"] * 10 ** (9 - next(part.width for part in layout if part.directive == "f"))
        if "f" in found
        else offsets * 0
    )
    year = found["Y"] if "Y" in found else found["y"] + np.where(found["y"] < 69, 2000, 1900)  # noqa: PLR2004 - POSIX
    one, zero = np.ones(count, np.int64), np.zeros(count, np.int64)
    month, day = found.get("m", one), found.get("d", one)
    hour, minute, second = (found.get(directive, zero) for directive in "HMS")
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)  # noqa: PLR2004 - months
    good &= (hour <= 23) & (minute <= 59) & (second <= 59)  # noqa: PLR2004 - as on a clock
    month = np.where(good, month, 1)
    good &= day <= days_in_month(year, month)
    seconds = days_from_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offsets
    return good, seconds, nanoseconds


def _parse_number(digits: Bytes) -> tuple[Mask, Integers]:
    """Which texts are digits, and their numbers."""
    numbers = np.zeros(digits.shape[1], np.int64)
    good = np.ones(digits.shape[1], np.bool_)
    for place in digits:
        digit = place - np.uint8(ord("0"))
        good &= digit <= 9  # noqa: PLR2004 - what is below "0" wraps around to a greater number
        numbers = numbers * 10 + digit
    return good, numbers


def _parse_zone(zone: Bytes) -> tuple[Mask, Integers]:
    """Which texts are `Z`, `+hhmm` or `+hh:mm`, and their offsets from UTC in seconds."""
    if len(zone) == 1:
        return zone[0] == ord("Z"), np.zeros(zone.shape[1], np.int64)
    is_east, is_west = zone[0] == ord("+"), zone[0] == ord("-")
    hours_good, hours = _parse_number(zone[1:3])
    minutes_good, minutes = _parse_number(zone[-2:])
    good = (is_east | is_west) & hours_good & minutes_good & (hours <= 23) & (minutes <= 59)  # noqa: PLR2004
    if len(zone) == len("+hh:mm"):
        good &= zone[3] == ord(":")
    return good, np.where(is_west, -1, 1) * (hours * 3600 + minutes * 60)
