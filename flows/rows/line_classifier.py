"""Each line of a file classified: a valid row, a reject, the header, or blank."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from blocks.domain.models import RowCounts
from flows.rows.arrays import Integers, full_match
from flows.rows.lines import line_array, line_contents
from flows.rows.rejects import RejectFile
from flows.rows.rules import VALID, FieldValidator, ReasonCodes
from flows.rows.settings import COLUMNS, ValidationSettings
from flows.rows.splitting import LineSplitter, header_columns

_NOT_BLANK = re.compile(rb"^[ \t]*+[^ \t\n].*", re.MULTILINE)
_BLANK = r"[ \t]*\n"
_CHUNK_LINES = 10_000
"""Lines that are Python objects at the same time. It bounds the memory of a block of many short rejected lines."""


class LineClassifier:
    """Classifies the lines of one file, block by block, and counts them.

    Within a block, a line has an index, from 0, and a code: `VALID`, or the code of the first rule that it breaks.
    """

    def __init__(self, settings: ValidationSettings, rejects: RejectFile) -> None:
        """Classify lines by `rules`; rejected lines are added to `rejects`."""
        self._max_line_bytes = settings.max_line_bytes
        self._validator = FieldValidator(settings)
        self._rejects = rejects
        self._splitter = LineSplitter(COLUMNS, settings.max_line_bytes)
        self._content_found = False
        self._header_line = 0  # counted from 1; 0 means that the file has no header
        self._lines = self._blank = 0

    def valid_rows(self, block: bytes) -> pa.RecordBatch:
        """The valid rows of a block of whole lines, in file order; columns as `FieldValidator.validate` returns them.

        Rejected lines are added to the reject file; all lines are counted.
        """
        if not self._content_found:
            self._find_header(block)
        lines = line_array(block)
        codes = np.zeros(len(lines), np.int8)
        simple, fields = self._splitter.split_vectorised(block, lines)
        valid = [self._validate(np.flatnonzero(simple), fields, codes)]
        valid += [
            self._validate(*self._split_one_by_one(lines, indices, codes), codes)
            for indices in _chunks(np.flatnonzero(~simple))
        ]
        if 0 <= (header := self._header_line - self._lines - 1) < len(lines):
            codes[header] = VALID  # as a row the header breaks a rule; it is no reject
        for indices in _chunks(np.flatnonzero(codes)):
            self._rejects.add(indices + self._lines + 1, codes[indices], lines.take(pa.array(indices)))
        self._lines += len(lines)
        return _in_file_order(valid)

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
        """Take the first line of the file that is not blank for the header if it names the columns."""
        if not (first := _NOT_BLANK.search(block)):
            return
        self._content_found = True
        if columns := header_columns(first.group()):
            self._header_line = self._lines + block.count(b"\n", 0, first.start()) + 1
            self._splitter = LineSplitter(columns, self._max_line_bytes)

    def _split_one_by_one(
        self, lines: pa.StringArray, indices: Integers, codes: ReasonCodes
    ) -> tuple[Integers, pa.RecordBatch]:
        """The indices of the lines that have three fields, and these fields. Counts blank lines; others get a code."""
        blank = full_match(lines.take(pa.array(indices)), _BLANK)
        self._blank += int(blank.sum())
        indices = indices[~blank]
        codes[indices], fields = self._splitter.split_one_by_one(line_contents(lines.take(pa.array(indices))))
        return indices[codes[indices] == VALID], fields

    def _validate(self, indices: Integers, fields: pa.RecordBatch, codes: ReasonCodes) -> pa.RecordBatch:
        """The valid rows among the lines at `indices`, with a column `index`. Sets the codes of these lines."""
        codes[indices], rows = self._validator.validate(fields)
        return rows.append_column("index", pa.array(indices[codes[indices] == VALID]))


def _chunks(indices: Integers) -> Iterator[Integers]:
    for start in range(0, len(indices), _CHUNK_LINES):
        yield indices[start : start + _CHUNK_LINES]


def _in_file_order(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    parts = [part for part in parts if len(part)] or parts[:1]
    rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts).sort_by("index")
    return rows.select(COLUMNS)
