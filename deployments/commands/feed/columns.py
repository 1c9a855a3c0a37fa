"""The type of a column, its format and missing values, guessed from the texts in it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from blocks.domain.feed.table_schema import FALSE_VALUES, TRUE_VALUES, FieldTypeName
from blocks.domain.feed.time_formats import TimeType, instant_of

_WORDS: Final = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None", "-", "--", "?"})
"""Texts that stand for a missing value."""
_SENTINEL: Final = re.compile(r"-?(?:9{2,6}|[12]00|999[.,]9+|99[.,]9+)(?:[.,]0+)?")
"""Numbers that stand for a missing value, if they are far from all others of the column."""
_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)", re.ASCII)
_POINT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_COMMA: Final = re.compile(r"[+-]?(?:[0-9]+,?[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?", re.ASCII)

_EPOCH: Final = {"epoch": (946_684_800, 4_102_444_800), "epoch-milliseconds": (946_684_800_000, 4_102_444_800_000)}
"""From 2000 to 2100."""
_FORMATS: Final[tuple[tuple[TimeType, str], ...]] = (
    ("date", "default"),
    ("datetime", "default"),
    ("datetime", "%Y-%m-%d %H:%M:%S"),
    ("datetime", "%Y-%m-%d %H:%M:%S.%f"),
    ("datetime", "%Y-%m-%d %H:%M:%S%z"),
    ("datetime", "%Y-%m-%d %H:%M"),
    ("datetime", "%Y-%m-%dT%H:%M"),
    ("datetime", "%Y-%m-%dT%H:%MZ"),
    ("datetime", "%Y/%m/%d %H:%M:%S"),
    ("datetime", "%Y/%m/%d %H:%M"),
    ("datetime", "%d.%m.%Y %H:%M:%S"),
    ("datetime", "%d.%m.%Y %H:%M"),
    ("datetime", "%d/%m/%Y %H:%M:%S"),
    ("datetime", "%d/%m/%Y %H:%M"),
    ("datetime", "%d/%m/%Y %H.%M.%S"),
    ("datetime", "%m/%d/%Y %H:%M:%S"),
    ("datetime", "%m/%d/%Y %H:%M"),
    ("datetime", "%m/%d/%Y %I:%M:%S %p"),
    ("datetime", "%m/%d/%Y %I:%M %p"),
    ("date", "%d.%m.%Y"),
    ("date", "%d/%m/%Y"),
    ("date", "%m/%d/%Y"),
    ("date", "%Y/%m/%d"),
)
_ALMOST_ALL: Final = 0.95
_FEW: Final = 3


@dataclass
class Column:
    """What a column seems to be."""

    name: str
    type: FieldTypeName
    format: str = "default"
    decimal_char: str = "."
    group_char: str | None = None
    missing_values: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is not sure, for people."""
    has_missing: bool = False
    has_fraction: bool = False
    """Whether it has instants between two seconds."""

    def as_field(self) -> dict[str, Any]:
        """The field of the descriptor; what is not sure is its description."""
        described: dict[str, Any] = {"name": self.name, "type": self.type}
        described |= {"format": self.format} if self.format != "default" else {}
        described |= {"decimalChar": self.decimal_char} if self.decimal_char != "." else {}
        described |= {"groupChar": self.group_char} if self.group_char else {}
        return described | ({"description": "; ".join(self.notes)} if self.notes else {})


def guessed_column(name: str, texts: Sequence[str], delimiter: str) -> Column:
    """The type that all texts of the column have, or nearly all; a string if there is none."""
    words = sorted({text for text in texts if text in _WORDS})
    present = [text for text in texts if text not in _WORDS]
    if not present:
        return Column(name, "string", missing_values=words, notes=["the sample has no value"], has_missing=True)
    column = _typed(name, present, delimiter)
    column.missing_values = words if column.type != "string" else [word for word in words if not word]
    column.has_missing = bool(column.missing_values)
    if column.type == "datetime":
        column.has_fraction = any(_has_fraction(text, column.format) for text in {*present})
    if column.type in ("integer", "number"):
        _find_sentinels(column, present)
    return column


def _typed(name: str, texts: list[str], delimiter: str) -> Column:
    distinct = [*dict.fromkeys(texts)]
    guesses = [*_times(name, distinct), *_booleans(name, distinct), *_numbers(name, distinct, delimiter)]
    for column, odd in guesses:
        if not odd:
            return column
    count = Counter(texts)
    for column, odd in guesses:
        if (rows := sum(count[text] for text in odd)) <= (1 - _ALMOST_ALL) * len(texts):
            column.notes.append(f"{rows} row(s) have another value, such as {odd[0][:40]!r}: they are rejected")
            return column
    return Column(name, "string", notes=_notes_of_text(texts, distinct))


def _notes_of_text(texts: list[str], distinct: list[str]) -> list[str]:
    if 1 < len(distinct) <= 10 and len(texts) >= _FEW * len(distinct):  # noqa: PLR2004 - few enough to list
        values = sorted(distinct)
        boolean = f", or its type boolean with trueValues {values[1:]} and falseValues {values[:1]}"
        return [f"there are {len(values)} values, so constraints.enum may be {values}{boolean * (len(values) == 2)}"]  # noqa: PLR2004
    return []


def _times(name: str, distinct: list[str]) -> list[tuple[Column, list[str]]]:
    found = []
    for form, (first, last) in _EPOCH.items():
        odd = [text for text in distinct if not (text.isascii() and text.isdigit() and first <= int(text[:20]) <= last)]
        found.append((Column(name, "datetime", form), odd))
    for of_type, form in _FORMATS:
        odd = [text for text in distinct if not _is_time(text, form, of_type)]
        found.append((Column(name, of_type, form), odd))
    matching = {column.format for column, odd in found if not odd}
    for column, _ in found:
        other = column.format.replace("%d/%m", "%m/%d")
        if other != column.format and other in matching:
            column.notes.append(f"the order of day and month is not sure: it may be {other}")
        if "%" in column.format and "%z" not in column.format and column.type == "datetime":
            column.notes.append("without an offset the times are taken as UTC")
    return found


def _is_time(text: str, form: str, of_type: TimeType) -> bool:
    try:
        instant_of(text, form, of_type)
    except (ValueError, OverflowError):
        return False
    return True


def _has_fraction(text: str, form: str) -> bool:
    try:
        return instant_of(text, form, "datetime").denominator > 1
    except (ValueError, OverflowError):
        return False


def _booleans(name: str, distinct: list[str]) -> list[tuple[Column, list[str]]]:
    """A boolean only if its values are words: 0 and 1 may be counts."""
    words = {*TRUE_VALUES, *FALSE_VALUES} - {"0", "1"}
    return [(Column(name, "boolean"), [text for text in distinct if text not in words])]


def _numbers(name: str, distinct: list[str], delimiter: str) -> list[tuple[Column, list[str]]]:
    if any(text[0] == "0" and text.isdigit() and len(text) > 1 for text in distinct):
        return []  # leading zeros are part of an identifier, such as 007
    forms = [(Column(name, "integer"), _INTEGER), (Column(name, "number"), _POINT)]
    comma = Column(name, "number", decimal_char=",")
    if delimiter == ",":
        comma.notes.append("decimal commas in quotes")
    forms.append((comma, _COMMA))
    guesses = [(column, [text for text in distinct if not form.fullmatch(text)]) for column, form in forms]
    grouped = Column(name, "number", decimal_char=",", group_char=".")
    odd = [text for text in distinct if not (_GROUPED.fullmatch(text) or _COMMA.fullmatch(text))]
    return [*guesses, (grouped, odd)]


def _find_sentinels(column: Column, texts: list[str]) -> None:
    """Take a number such as -200 for a missing value if it is the least or greatest, and far from all others."""
    count = Counter(texts)
    for text in [each for each in count if _SENTINEL.fullmatch(each)]:
        value, others = _number(text, column), [_number(each, column) for each in count if each != text]
        known = [each for each in others if each is not None]
        if value is None or len(known) < _FEW:
            continue
        low, high = min(known), max(known)
        distance = max(low - value, value - high)
        if distance > max(high - low, Decimal(10)) and count[text] > 1:
            column.missing_values.append(text)
            column.has_missing = True
            column.notes.append(
                f"{text} occurs {count[text]} times and the others are from {low} to {high}: taken as missing"
            )


def _number(text: str, column: Column) -> Decimal | None:
    plain = text.replace(column.group_char, "") if column.group_char else text
    plain = plain.replace(column.decimal_char, ".")
    return Decimal(plain) if _POINT.fullmatch(plain) else None
