"""Lines taken apart into fields: nearly all of them at once, the few that are hard to read one by one."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.rows.arrays import Mask, matches, only, to_mask, to_numbers
from flows.rows.field_checks import Codes, code_of
from flows.rows.layout import Layout, split_line
from flows.rows.rules import COLUMNS, Reason

# RE2 finds groups fast, here three times as fast, where it is never in doubt which part comes next ("one-pass"). Hence
# groups hold visible ASCII only, no comma, no quote, and never nothing; a blank before a quote is told from one behind.
_FIELD = r'[ \t]*(?:"[ \t]*)?(?P<{}>[!#-+\--~]+)[ \t]*(?:"[ \t]*)?'
_QUOTED_OR_BARE = r'[ \t]*(?:"[^"\n]*"[ \t]*|[^",\n]*)'
_WELL_QUOTED = rf"{_QUOTED_OR_BARE}(?:,{_QUOTED_OR_BARE}){{2}}\n"


class Splitter:
    """Takes the lines of one file apart. Fields come as text, without quotes, spaces and tabs around them."""

    def __init__(self, layout: Layout, max_line_bytes: int) -> None:
        self._columns = layout.columns
        self._max_line_bytes = max_line_bytes
        self._line = rf"\A{','.join(map(_FIELD.format, layout.columns))}\n\z"

    def at_once(self, block: bytes, lines: pa.StringArray) -> tuple[Mask, pa.RecordBatch]:
        """Which lines could be taken apart beyond doubt, and the fields of these, by `COLUMNS`.

        `lines` are those of `block`, their ends included.
        """
        fields = pc.extract_regex(lines, self._line)
        plain = to_mask(fields.is_valid()) & (to_numbers(pc.binary_length(lines)) <= self._max_line_bytes + 1)
        if b'"' in block:
            plain &= matches(lines, _WELL_QUOTED)
        return plain, only(pa.RecordBatch.from_arrays([fields.field(c) for c in COLUMNS], names=COLUMNS), plain)

    def singly(self, lines: Sequence[bytes]) -> tuple[Codes, pa.RecordBatch]:
        """For each line, without its end, `GOOD` or the code of why it is no three fields; and those of the good."""
        codes = np.zeros(len(lines), np.int8)
        rows: list[list[str]] = []
        for place, line in enumerate(lines):
            split = self._split(line)
            if isinstance(split, str):
                codes[place] = code_of(split)
            else:
                rows.append(split)
        columns = zip(*rows, strict=True) if rows else ([], [], [])
        fields = pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], names=self._columns)
        return codes, fields.select(COLUMNS)

    def _split(self, line: bytes) -> list[str] | Reason:
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
