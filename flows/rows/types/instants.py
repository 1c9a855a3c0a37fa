"""Instants as arrays: whole seconds since 1970 in UTC, and nanoseconds of that second."""

from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from blocks.domain.readings_summary import FIRST_SECOND, LAST_SECOND
from flows.rows.arrays import Integers, Mask

DAY_SECONDS: Final = 86_400
NANOSECONDS: Final = 1_000_000_000


class Instant(NamedTuple):
    """An instant: seconds since 1970, and nanoseconds of that second."""

    seconds: int
    nanoseconds: int = 0


FIRST, LAST = Instant(FIRST_SECOND), Instant(LAST_SECOND, NANOSECONDS - 1)


class Instants(NamedTuple):
    """Instants, with None for nanoseconds that are all zero."""

    seconds: Integers
    nanoseconds: Integers | None = None

    def between(self, first: Instant, last: Instant) -> Mask:
        """Which of the instants are within the bounds, which count as within."""
        inside = (first.seconds <= self.seconds) & (self.seconds <= last.seconds)
        of_second = np.zeros(1, np.int64) if self.nanoseconds is None else self.nanoseconds
        if first.nanoseconds:
            inside &= (self.seconds > first.seconds) | (of_second >= first.nanoseconds)
        if self.nanoseconds is not None:
            inside &= (self.seconds < last.seconds) | (of_second <= last.nanoseconds)
        return inside


def days_from_civil(year: Integers, month: Integers, day: Integers) -> Integers:
    """Days since 1970-01-01 in the proleptic Gregorian calendar.

    Source: "chrono-Compatible Low-Level Date Algorithms", Howard Hinnant.
    """
    year = year - (month <= 2)  # noqa: PLR2004 - a year begins in March here, so that leap days are last
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1  # noqa: PLR2004
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return cast("Integers", era * 146_097 + day_of_era - 719_468)


def days_in_month(year: Integers, month: Integers) -> Integers:
    """The number of days of months from 1 to 12."""
    lengths = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return cast("Integers", lengths[month] + ((month == 2) & is_leap))  # noqa: PLR2004 - February


def to_units(instants: Instants, digits: int) -> pa.StringArray:
    """Each instant as text: the exact number of units since 1970, where a unit is 10**-`digits` seconds.

    A fraction of a unit is written with as many digits as it needs.
    """
    seconds, nanoseconds = instants
    if nanoseconds is None:
        return pa.array(seconds * 10**digits).cast(pa.string())
    unit = 10 ** (9 - digits)
    units, rest = seconds * 10**digits + nanoseconds // unit, nanoseconds % unit
    whole = pa.array(units).cast(pa.string())
    if not rest.any():
        return whole
    # A number below zero is written with its sign before its magnitude: -1.25 is -2 and three quarters.
    negative = (units < 0) & (rest > 0)
    units, rest = np.where(negative, -units - 1, units), np.where(negative, unit - rest, rest)
    fraction = pc.utf8_lpad(pa.array(rest).cast(pa.string()), 9 - digits, "0")
    parts = [pc.if_else(pa.array(negative), "-", ""), pa.array(units).cast(pa.string()), ".", fraction]
    joined = pc.binary_join_element_wise(*(pa.scalar(part) if isinstance(part, str) else part for part in parts), "")
    return pc.if_else(pa.array(rest > 0), pc.utf8_rtrim(joined, "0"), whole)


def to_iso(instants: Instants, digits: int) -> pa.StringArray:
    """Each instant in UTC as in `2026-01-31T23:59:59Z`, with so many digits of the second: 0, 3 or 6."""
    unit = {0: "s", 3: "ms", 6: "us"}[digits]
    numbers = instants.seconds * 10**digits
    if instants.nanoseconds is not None:
        numbers = numbers + instants.nanoseconds // 10 ** (9 - digits)
    texts = np.datetime_as_string(numbers.astype(f"datetime64[{unit}]"))
    return pc.binary_join_element_wise(pa.array(texts.astype(object), pa.string()), "Z", "")


def date_texts(days: npt.NDArray[np.int64]) -> pa.StringArray:
    """Days since 1970 as in `2026-01-31`."""
    return pa.array(np.datetime_as_string(days.astype("datetime64[D]")).astype(object), pa.string())
