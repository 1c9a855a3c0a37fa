"""Formats of dates and datetimes: which are supported, and what a bound of such a field denotes."""

import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, Literal

EPOCH_UNITS: Final = {"epoch": 1, "epoch-milliseconds": 1000}
"""Formats of datetimes that count from 1970-01-01T00:00:00Z, and their units in a second."""

DIRECTIVES: Final = frozenset("YymdHIMSjfzpBbAa%")
"""The directives of a pattern that are supported. Not `%Z`: names of time zones are ambiguous."""

_TIME: Final = frozenset("HIMSfzp")
_ISO: Final = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?", re.ASCII),
}
_FRACTION: Final = re.compile(r"\.\d{7,9}")

TimeType = Literal["date", "datetime"]


def problem_of_format(form: str, of_type: TimeType) -> str | None:  # noqa: PLR0911 - one for each problem
    """What is wrong with the format of a date or datetime; None if it can be read."""
    if form == "default" or (form in EPOCH_UNITS and of_type == "datetime"):
        return None
    if "%" not in form:
        return f"{form!r} is no pattern of strptime, such as %Y-%m-%d"
    directives = [each[1:] for each in re.findall(r"%.?", form, re.DOTALL)]
    if unknown := sorted({each for each in directives if each not in DIRECTIVES or not each}):
        return f"%{unknown[0]} is not supported; these are: %{', %'.join(sorted(DIRECTIVES))}"
    given = [each for each in directives if each != "%"]
    if len({*given}) < len(given):
        return "a directive occurs twice"
    found = frozenset(given)
    if not (found & {"Y", "y"} and ("j" in found or (found & {"m", "b", "B"} and "d" in found))):
        return "year, month and day are not all in it"
    if ("I" in found) != ("p" in found):
        return "hours of twelve need both %I and %p"
    if of_type == "date" and found & _TIME:
        return "a date has no time of day"
    return None


def instant_of(text: str, form: str, of_type: TimeType) -> Fraction:
    """The seconds since 1970, exactly, that a text in the format denotes; without an offset it is in UTC.

    Raises:
        ValueError: the text is not in the format.
    """
    if form in EPOCH_UNITS:
        if not (text.isascii() and text.isdigit()):
            raise ValueError("not a whole number")
        return Fraction(int(text), EPOCH_UNITS[form])
    if form != "default":
        return _seconds(datetime.strptime(text, form))  # noqa: DTZ007 - the offset is in the format, or it is UTC
    if not _ISO[of_type].fullmatch(text):
        raise ValueError("not in the standard's default format")
    beyond = _FRACTION.search(text)  # Python reads six digits
    parsed = _seconds(datetime.fromisoformat(text.replace(beyond.group(), beyond.group()[:7]) if beyond else text))
    return parsed + (Fraction(int(beyond.group()[7:].ljust(3, "0")), 10**9) if beyond else 0)


def _seconds(moment: datetime) -> Fraction:
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return Fraction(since.days * 86_400 + since.seconds) + Fraction(since.microseconds, 10**6)
