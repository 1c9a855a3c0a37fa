"""Lines split into fields: nearly all of them by one vectorised expression, the rest one by one."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.rows.arrays import Mask, filter_rows, full_match, to_integers, to_mask
from flows.rows.rules import ReasonCodes, reason_code
from flows.rows.settings import COLUMNS, Reason

_BLANKS = " \t"
# One field, quoted or not. The quantifiers are possessive: without backtracking, no line takes more than linear time.
_FIELD = re.compile(r'[ \t]*+(?:"((?:[^"]|"")*+)"[ \t]*+|([^",]*+))(?:,|\Z)')

# RE2 extracts groups three times as fast (measured here) from an expression that it can match in one pass: the next
# character alone must decide how the match continues. So a group holds one or more visible ASCII characters except
# comma and quote. The quotes around it are each optional; `_WELL_QUOTED` rejects lines in which they do not pair up.
_SIMPLE_FIELD = r'[ \t]*(?:"[ \t]*)?(?P<{}>[!#-+\--~]+)[ \t]*(?:"[ \t]*)?'
_QUOTED_OR_BARE = r'[ \t]*(?:"[^"\n]*"[ \t]*|[^",\n]*)'
_WELL_QUOTED = rf"{_QUOTED_OR_BARE}(?:,{_QUOTED_OR_BARE}){{2}}\n"


def split_line(line: str) -> list[str]:
    """The fields of one line, without enclosing quotes, spaces and tabs.

    If a quote encloses less than a whole field, all quotes of the line are ordinary characters.
    """
    if '"' not in line:
        return [field.strip(_BLANKS) for field in line.split(",")]
    fields = []
    position = 0
    while position <= len(line):
        if not (match := _FIELD.match(line, position)):
            return [field.strip(_BLANKS) for field in line.split(",")]
        quoted, bare = match.groups()
        fields.append((bare if quoted is None else quoted.replace('""', '"')).strip(_BLANKS))
        position = match.end() if match.group().endswith(",") else len(line) + 1
    return fields


def header_columns(line: bytes) -> tuple[str, ...] | None:
    """The order of the columns if the line is a header, that is, if it names each of `COLUMNS` once; else None."""
    names = tuple(name.lower() for name in split_line(line.decode("utf-8", "replace")))
    return names if sorted(names) == sorted(COLUMNS) else None


class LineSplitter:
    """Splits the lines of one file into fields, which are text without enclosing quotes, spaces and tabs."""

    def __init__(self, columns: tuple[str, ...], max_line_bytes: int) -> None:
        """Split lines of up to `max_line_bytes` whose fields are in the order of `columns`."""
        self._columns = columns
        self._max_line_bytes = max_line_bytes
        self._line = rf"\A{','.join(map(_SIMPLE_FIELD.format, columns))}\n\z"

    def split_vectorised(self, block: bytes, lines: pa.StringArray) -> tuple[Mask, pa.RecordBatch]:
        r"""Which lines are simple enough to be split here, and the fields of these lines, in the order of `COLUMNS`.

        Args:
            block: the lines as bytes.
            lines: the same lines, each with its `\n`.
        """
        fields = pc.extract_regex(lines, self._line)
        simple = to_mask(fields.is_valid()) & (to_integers(pc.binary_length(lines)) <= self._max_line_bytes + 1)
        if b'"' in block:
            simple &= full_match(lines, _WELL_QUOTED)
        columns = [fields.field(name) for name in COLUMNS]
        return simple, filter_rows(pa.RecordBatch.from_arrays(columns, names=COLUMNS), simple)

    def split_one_by_one(self, lines: Sequence[bytes]) -> tuple[ReasonCodes, pa.RecordBatch]:
        r"""A code for each line, and the fields of the lines with code `VALID`, in the order of `COLUMNS`.

        `lines` are without their `\n`. The code of a line that does not split into three fields is that of the reason.
        """
        codes = np.zeros(len(lines), np.int8)
        rows: list[list[str]] = []
        for index, line in enumerate(lines):
            fields = self._fields_or_reason(line)
            if isinstance(fields, str):
                codes[index] = reason_code(fields)
            else:
                rows.append(fields)
        columns = zip(*rows, strict=True) if rows else ([], [], [])
        batch = pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], names=self._columns)
        return codes, batch.select(COLUMNS)

    def _fields_or_reason(self, line: bytes) -> list[str] | Reason:
        if len(line) > self._max_line_bytes:
            return "field_count"
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return "encoding"
        if "\0" in text:
            return "encoding"
        fields = split_line(text)
        return fields if len(fields) == len(COLUMNS) else "field_count"
