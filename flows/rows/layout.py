"""Where in a line the three fields stand: as the contract says, or as a header line names them."""

import re
from dataclasses import dataclass
from typing import Self

from flows.rows.rules import COLUMNS

_BLANKS = " \t"
# A field in quotes, or one without any. Possessive, so that no line however odd is read more than once.
_FIELD = re.compile(r'[ \t]*+(?:"((?:[^"]|"")*+)"[ \t]*+|([^",]*+))(?:,|\Z)')


@dataclass(frozen=True)
class Layout:
    """The order of a file's fields, and the number of the line that named them, 0 if none did."""

    columns: tuple[str, ...] = COLUMNS
    header_line: int = 0

    @classmethod
    def from_first_line(cls, line: bytes, number: int) -> Self:
        """The layout that the first line with anything in it gives a file: its own if it is a header."""
        names = tuple(name.lower() for name in split_line(line.decode("utf-8", "replace")))
        return cls(names, number) if sorted(names) == sorted(COLUMNS) else cls()


def split_line(line: str) -> list[str]:
    """The fields of one line. A quote that encloses no whole field is a character like any other."""
    if '"' not in line:
        return [field.strip(_BLANKS) for field in line.split(",")]
    fields = []
    place = 0
    while place <= len(line):
        if not (match := _FIELD.match(line, place)):
            return [field.strip(_BLANKS) for field in line.split(",")]
        quoted, bare = match.groups()
        fields.append((bare if quoted is None else quoted.replace('""', '"')).strip(_BLANKS))
        place = match.end() if match.group().endswith(",") else len(line) + 1
    return fields
