"""Lines split into fields: nearly all of them by Arrow's CSV reader, the rest one by one."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from blocks.domain.feed.dialect import Dialect
from flows.rows.arrays import Mask, full_match, to_integers, to_mask
from flows.rows.reasons import ENCODING, FIELD_COUNT, ReasonCodes

BLANKS = " \t"

FEW_LINES = 100
"""Fewer lines are all split one by one, which is faster, as Arrow's reader hands each block over to another thread."""


def split_line(line: str, dialect: Dialect) -> list[str]:
    """The fields of one line, without enclosing quotes, spaces and tabs.

    If a quote encloses less than a whole field, all quotes of the line are ordinary characters.
    """
    delimiter, quote, blanks = dialect.delimiter, dialect.quote_char, _blanks(dialect)
    if quote is None or quote not in line:
        return [field.strip(blanks) for field in line.split(delimiter)]
    expression = re.compile(_field_expression(dialect))  # cached by `re`
    fields = []
    position = 0
    while position <= len(line):
        if not (match := expression.match(line, position)):
            return [field.strip(blanks) for field in line.split(delimiter)]
        quoted, bare = match.groups()
        fields.append((bare if quoted is None else quoted.replace(quote * 2, quote)).strip(blanks))
        position = match.end() if match.group().endswith(delimiter) else len(line) + 1
    return fields


def _blanks(dialect: Dialect) -> str:
    """The characters around a field that do not belong to it."""
    return BLANKS.replace(dialect.delimiter, "")


def _field_expression(dialect: Dialect) -> str:
    """One field, quoted or not. The quantifiers are possessive: no line takes more than linear time."""
    delimiter, quote, blanks = map(re.escape, (dialect.delimiter, dialect.quote_char or "", _blanks(dialect)))
    enclosed = f"{quote}((?:[^{quote}]|{quote}{quote})*+){quote}[{blanks}]*+"
    return rf"[{blanks}]*+(?:{enclosed}|([^{quote}{delimiter}]*+))(?:{delimiter}|\Z)"


class LineSplitter:
    """Splits the lines of one file into fields, which are text without enclosing quotes, spaces and tabs.

    A line is simple if Arrow's CSV reader splits it as `split_line` does: it is text with the right number of
    delimiters, and each of its fields is quoted from end to end or has no quote.
    """

    def __init__(
        self, dialect: Dialect, columns: Sequence[str | None], names: Sequence[str], max_line_bytes: int
    ) -> None:
        """Split lines of up to `max_line_bytes`.

        Args:
            dialect: how fields are separated and quoted.
            columns: the names of a line's fields in their order; None for a field that is left out.
            names: the names of the fields to return; one that is not in `columns` is null in all rows.
            max_line_bytes: longer lines are no rows.
        """
        self._dialect, self._max_line_bytes = dialect, max_line_bytes
        self._columns = len(columns)
        self._names = list(names)
        self._places = {name: columns.index(name) for name in names if name in columns}
        self._simple = {of_ascii: _simple_line(dialect, len(columns), of_ascii=of_ascii) for of_ascii in (True, False)}

    def split_vectorised(self, block: bytes, lines: pa.StringArray) -> tuple[Mask, pa.RecordBatch]:
        r"""Which lines are simple, and the fields of these lines.

        Args:
            block: the lines as bytes.
            lines: the same lines, each with its `\n`.
        """
        if len(lines) < FEW_LINES:
            return np.zeros(len(lines), np.bool_), self._read(b"", 0)
        # RE2 does not notice all invalid UTF-8. If a block has some, its lines beyond ASCII are split one by one.
        of_ascii = block.isascii() or not _is_utf8(lines)
        simple = to_mask(pc.match_substring_regex(lines, self._simple[of_ascii]))
        if len(block) > self._max_line_bytes:
            simple &= to_integers(pc.binary_length(lines)) <= self._max_line_bytes + 1
        simple &= ~self._no_rows(block, lines)
        if not simple.all():
            lines = lines.filter(pa.array(simple))
            block = lines.buffers()[2].to_pybytes()[: _text_bytes(lines)] if len(lines) else b""
        return simple, self._read(block, len(lines))

    def split_one_by_one(self, lines: Sequence[bytes]) -> tuple[ReasonCodes, pa.RecordBatch]:
        r"""A code for each line, and the fields of the lines with code `VALID`.

        `lines` are without their `\n`. The code of a line that does not split into fields is that of the reason.
        """
        codes = np.zeros(len(lines), np.int16)
        rows: list[list[str]] = []
        for index, line in enumerate(lines):
            fields = self._fields_or_reason(line)
            if isinstance(fields, int):
                codes[index] = fields
            else:
                rows.append(fields)
        found = {name: pa.array([row[place] for row in rows], pa.string()) for name, place in self._places.items()}
        return codes, self._batch(found, len(rows))

    def _no_rows(self, block: bytes, lines: pa.StringArray) -> Mask | np.bool_:
        """Which lines are blank or comments, as far as they could be simple."""
        no_rows: Mask | np.bool_ = np.False_
        if self._columns == 1 or self._dialect.delimiter in BLANKS:
            no_rows = full_match(lines, rf"[{BLANKS}]*\n")
        if self._dialect.comment_char and self._dialect.comment_char.encode() in block:
            no_rows = no_rows | to_mask(pc.starts_with(lines, self._dialect.comment_char))
        return no_rows

    def _read(self, block: bytes, rows: int) -> pa.RecordBatch:
        """The fields of simple lines."""
        if not rows:
            return self._batch({name: pa.array([], pa.string()) for name in self._places}, 0)
        names = [str(place) for place in range(self._columns)]
        quote = self._dialect.quote_char
        has_quotes = quote is not None and quote.encode() in block
        read = pa.csv.read_csv(
            pa.BufferReader(block),
            pa.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pa.csv.ParseOptions(
                delimiter=self._dialect.delimiter, quote_char=has_quotes and quote, ignore_empty_lines=False
            ),
            pa.csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[str(place) for place in self._places.values()],
                strings_can_be_null=False,
            ),
        )
        columns = [column.combine_chunks() for column in read.columns]
        if any(blank.encode() in block for blank in _blanks(self._dialect)):
            columns = [pc.utf8_trim(column, _blanks(self._dialect)) for column in columns]
        return self._batch(dict(zip(self._places, columns, strict=True)), rows)

    def _batch(self, found: dict[str, pa.Array], rows: int) -> pa.RecordBatch:
        columns = [found[name] if name in found else pa.nulls(rows, pa.string()) for name in self._names]
        return pa.RecordBatch.from_arrays(columns, names=self._names)

    def _fields_or_reason(self, line: bytes) -> list[str] | int:
        if len(line) > self._max_line_bytes:
            return FIELD_COUNT
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return ENCODING
        if "\0" in text:
            return ENCODING
        fields = split_line(text, self._dialect)
        return fields if len(fields) == self._columns else FIELD_COUNT


def _simple_line(dialect: Dialect, columns: int, *, of_ascii: bool) -> str:
    """RE2 expression for simple lines, of ASCII only or of any characters.

    Arrow's reader leaves out a byte-order mark at the start of what it reads, so no simple line has one.
    """
    others = r"\x00\n" + (r"\x{80}-\x{10FFFF}" if of_ascii else r"\x{FEFF}")
    delimiter = re.escape(dialect.delimiter)
    if dialect.quote_char is None:
        field = f"[^{delimiter}{others}]*"
    else:
        quote = re.escape(dialect.quote_char)
        field = f"(?:[^{delimiter}{quote}{others}]*|{quote}(?:[^{quote}{others}]|{quote}{quote})*{quote})"
    return rf"\A{delimiter.join([field] * columns)}\n\z"


def _is_utf8(lines: pa.StringArray) -> bool:
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _text_bytes(texts: pa.StringArray) -> int:
    """The bytes of all texts of an array that starts at the begin of its buffers."""
    return int(np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1)[-1])
