"""Each line of a file classified: a valid row, a reject, the header, or blank."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocks.domain.models import RowCounts
from flows.rows.arrays import Integers, Mask, full_match, to_mask
from flows.rows.header import FileColumns
from flows.rows.lines import line_array, line_contents
from flows.rows.reasons import VALID, ReasonCodes
from flows.rows.rejects import RejectFile
from flows.rows.rules import RowRules
from flows.rows.settings import ValidationSettings
from flows.rows.splitting import LineSplitter, split_line

_BLANK = r"[ \t]*\n"
_INDEX = "\0index"  # no field has this name
_CHUNK_LINES = 10_000
"""Lines that are Python objects at the same time. It bounds the memory of a block of many short rejected lines."""


class LineClassifier:
    """Classifies the lines of one file, block by block, and counts them.

    Within a block, a line has an index, from 0, and a code: `VALID`, or the code of the first rule that it breaks.
    """

    def __init__(self, settings: ValidationSettings, rules: RowRules, rejects: RejectFile) -> None:
        """Classify lines by `rules`; rejected lines are added to `rejects`."""
        self._max_line_bytes = settings.max_line_bytes
        self._rules = rules
        self._rejects = rejects
        self._columns = FileColumns(settings.feed, rules)
        self._dialect = settings.feed.dialect
        self._splitter = LineSplitter(self._dialect, rules.names, rules.names, settings.max_line_bytes)
        comment = f"(?!{re.escape(self._dialect.comment_char)})" if self._dialect.comment_char else ""
        self._first_line = re.compile(rf"^{comment}[ \t]*+[^ \t\n].*".encode(), re.MULTILINE)
        self._content_found = False
        self._header_line = 0  # counted from 1; 0 means that the file has no header
        self._lines = self._blank = 0

    def valid_rows(self, block: bytes) -> pa.RecordBatch:
        """The valid rows of a block of whole lines, in file order; columns as `RowRules.validate` returns them.

        Rejected lines are added to the reject file; all lines are counted.

        Raises:
            RefusedError: the header does not name the columns of the feed.
        """
        if not self._content_found:
            self._find_header(block)
        lines = line_array(block)
        codes = np.zeros(len(lines), np.int16)
        simple, fields = self._splitter.split_vectorised(block, lines)
        valid = [self._validate(np.flatnonzero(simple), fields, codes)]
        valid += [
            self._validate(*self._split_one_by_one(lines, indices, codes), codes)
            for indices in _chunks(np.flatnonzero(~simple))
        ]
        if 0 <= (header := self._header_line - self._lines - 1) < len(lines):
            codes[header] = VALID  # as a row it may break a rule, or none
            valid = [rows.filter(pc.not_equal(rows[_INDEX], header)) for rows in valid]
        for indices in _chunks(np.flatnonzero(codes)):
            self._rejects.add(indices + self._lines + 1, codes[indices], lines.take(pa.array(indices)))
        self._lines += len(lines)
        return _in_file_order(valid, self._rules.names)

    def counts(self, *, accepted: int, replaced: int) -> RowCounts:
        """The counts of all lines so far; `accepted` and `replaced` are the valid rows after duplicates are resolved.

        Raises:
            ValueError: the counts do not add up, so a line was lost or counted twice.
        """
        header = int(self._header_line > 0)
        return RowCounts(
            lines=self._lines,
            header=header,
            blank=self._blank,
            rows=self._lines - header - self._blank,
            accepted=accepted,
            replaced=replaced,
            rejected=self._rejects.reasons.total(),
        )

    def _find_header(self, block: bytes) -> None:
        """Take the first line of the file that is not blank for the header if it is one."""
        if not (first := self._first_line.search(block)):
            return
        self._content_found = True
        line = first.group()
        # Of a line that is too long only the start is known, so nothing follows from it.
        is_known = len(line) <= self._max_line_bytes
        fields = split_line(line.decode("utf-8", "replace"), self._dialect) if is_known else None
        is_header, columns = self._columns.of_first_line(fields)
        if is_header:
            self._header_line = self._lines + block.count(b"\n", 0, first.start()) + 1
        self._splitter = LineSplitter(self._dialect, columns, self._rules.names, self._max_line_bytes)

    def _split_one_by_one(
        self, lines: pa.StringArray, indices: Integers, codes: ReasonCodes
    ) -> tuple[Integers, pa.RecordBatch]:
        """The indices of the lines that split into fields, and these fields. Counts blank lines; others get a code."""
        blank = self._blank_lines(lines.take(pa.array(indices)))
        self._blank += int(blank.sum())
        indices = indices[~blank]
        codes[indices], fields = self._splitter.split_one_by_one(line_contents(lines.take(pa.array(indices))))
        return indices[codes[indices] == VALID], fields

    def _blank_lines(self, lines: pa.StringArray) -> Mask:
        """Which lines are blank, or comments, which count as blank."""
        blank = full_match(lines, _BLANK)
        return (
            blank | to_mask(pc.starts_with(lines, self._dialect.comment_char)) if self._dialect.comment_char else blank
        )

    def _validate(self, indices: Integers, fields: pa.RecordBatch, codes: ReasonCodes) -> pa.RecordBatch:
        """The valid rows among the lines at `indices`, with a column `index`. Sets the codes of these lines."""
        codes[indices], rows = self._rules.validate(fields)
        return rows.append_column(_INDEX, pa.array(indices[codes[indices] == VALID]))


def _chunks(indices: Integers) -> Iterator[Integers]:
    for start in range(0, len(indices), _CHUNK_LINES):
        yield indices[start : start + _CHUNK_LINES]


def _in_file_order(parts: list[pa.RecordBatch], names: list[str]) -> pa.RecordBatch:
    parts = [part for part in parts if len(part)] or parts[:1]
    rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts).sort_by(_INDEX)
    return rows.select(names)
