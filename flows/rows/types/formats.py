"""Formats of dates and datetimes, and the layouts of fixed width that a format has.

A format is a pattern of `strptime`, or XML Schema's form, which is the default of the Table Schema standard. In a
layout each component has a fixed place, so texts of one layout are parsed as columns of digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from typing import Final, NamedTuple

from flows.rows.types.instants import DAY_SECONDS, Instant

_PADDED: Final = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}
_ZONES: Final = ("Z", "+hhmm", "+hh:mm")
_NANOSECOND_DIGITS: Final = 9


class Part(NamedTuple):
    """A component of a layout: a directive or a literal text, and where it is in the text, in bytes."""

    directive: str
    literal: bytes
    start: int
    width: int


@dataclass(frozen=True)
class TimeFormat:
    """The patterns of a field of dates or datetimes; which of them a text has does not matter."""

    patterns: tuple[str, ...]
    padded: bool = False
    """Whether `5` in place of `05` is wrong, as in XML Schema's form; `strptime` accepts it."""

    @cached_property
    def has_fraction(self) -> bool:
        return any(directive == "f" for pattern in self.patterns for directive, _ in _tokens(pattern))

    @cached_property
    def layouts(self) -> dict[int, list[list[Part]]]:
        """The layouts by their width in bytes; none for patterns with other components than padded numbers."""
        found: dict[int, list[list[Part]]] = {}
        for pattern in self.patterns:
            for parts in _layouts(pattern):
                found.setdefault(parts[-1].start + parts[-1].width, []).append(parts)
        return found

    def parse_one(self, text: str) -> Instant | None:
        """The instant that a text without a layout denotes; None if it is not of the format.

        Without an offset it is in UTC.
        """
        if self.padded or not text.isascii():
            return None
        for pattern in self.patterns:
            try:
                # Without the zone's name (`%Z`), no pattern depends on the machine's time zone.
                parsed = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is in the pattern, or it is UTC
                whole = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).replace(microsecond=0)
                since = whole - datetime(1970, 1, 1, tzinfo=UTC)
            except (ValueError, OverflowError):
                continue
            # An offset can have fractions of a second, too.
            nanoseconds = 1000 * (parsed.microsecond + since.microseconds)
            seconds = since.days * DAY_SECONDS + since.seconds + nanoseconds // 1_000_000_000
            return Instant(seconds, nanoseconds % 1_000_000_000)
        return None


ISO_DATE: Final = TimeFormat(("%Y-%m-%d",), padded=True)
ISO_DATETIME: Final = TimeFormat(
    tuple(f"%Y-%m-%dT%H:%M:%S{fraction}{zone}" for fraction in ("", ".%f") for zone in ("", "%z")), padded=True
)
"""Source: datetime, default, in the Table Schema standard, v2: date, time, optional fraction, optional zone."""


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """Directives, as letters, and the literal characters between them: one of the two is empty."""
    characters = iter(pattern)
    for character in characters:
        if character != "%":
            yield "", character
        elif (directive := next(characters, "%")) == "%":
            yield "", "%"
        else:
            yield directive, ""


def _layouts(pattern: str) -> Iterator[list[Part]]:
    """All layouts of a pattern: a fraction has one to nine digits, an offset has three forms."""
    choices: list[list[tuple[str, str]]] = []
    for directive, literal in _tokens(pattern):
        if literal:
            choices.append([("", literal)])
        elif directive in _PADDED:
            choices.append([(directive, "0" * _PADDED[directive])])
        elif directive == "f":
            choices.append([("f", "0" * width) for width in range(1, _NANOSECOND_DIGITS + 1)])
        elif directive == "z":
            choices.append([("z", zone) for zone in _ZONES])
        else:
            return
    if not {directive for choice in choices for directive, _ in choice} & {"Y", "y"}:
        return
    for combination in product(*choices):
        parts, start = [], 0
        for directive, text in combination:
            parts.append(Part(directive, b"" if directive else text.encode(), start, len(text.encode())))
            start += parts[-1].width
        yield parts
