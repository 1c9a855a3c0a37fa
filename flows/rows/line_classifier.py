"""Each line of a file to where it belongs: the readings, the rejects, the header, or the blank lines."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from blocks.domain.models import RowCounts
from flows.rows.arrays import Numbers, matches
from flows.rows.field_checks import GOOD, Checks, Codes
from flows.rows.layout import Layout
from flows.rows.lines import as_array, contents_of
from flows.rows.rejects import RejectFile
from flows.rows.rules import COLUMNS, RowRules
from flows.rows.splitting import Splitter

_LINE_WITH_CONTENT = re.compile(rb"^[ \t]*+[^ \t\n].*", re.MULTILINE)
_BLANK = r"[ \t]*\n"
_AT_ONCE = 10_000
"""Lines that are Python objects at one time, so that a block of tiny bad lines takes no more memory than others."""


class LineSorter:
    """Sorts the lines of one file, block by block, and counts them.

    Within a block a line goes by its place, from 0; each place has a code, `GOOD` or that of a broken rule.
    """

    def __init__(self, rules: RowRules, rejects: RejectFile) -> None:
        self._max_line_bytes = rules.max_line_bytes
        self._checks = Checks(rules)
        self._rejects = rejects
        self._layout: Layout | None = None
        self._lines = self._blank = 0

    def readings(self, block: bytes) -> pa.RecordBatch:
        """The good rows of a block of whole lines, in file order; its other lines are counted, and rejects kept."""
        if self._layout is None:
            self._find_layout(block)
        lines = as_array(block)
        codes = np.zeros(len(lines), np.int8)
        split, fields = self._splitter.at_once(block, lines)
        good = [self._checked(np.flatnonzero(split), fields, codes)]
        good += [
            self._checked(*self._split_singly(lines, places, codes), codes)
            for places in _in_parts(np.flatnonzero(~split))
        ]
        if 0 <= (header := self._header_line - self._lines - 1) < len(lines):
            codes[header] = GOOD  # it breaks a rule like any row would that holds names, and is none
        for places in _in_parts(np.flatnonzero(codes)):
            self._rejects.add(places + self._lines + 1, codes[places], lines.take(pa.array(places)))
        self._lines += len(lines)
        return _in_order(good)

    def counts(self, *, accepted: int, replaced: int) -> RowCounts:
        """What became of all lines so far.

        Raises:
            ValueError: the numbers do not add up, so a line was lost or counted twice.
        """
        header = int(self._layout is not None and self._layout.header_line > 0)
        return RowCounts(
            lines=self._lines,
            header=header,
            blank=self._blank,
            rows=self._lines - header - self._blank,
            accepted=accepted,
            replaced=replaced,
            rejected=self._rejects.reasons.total(),
        )

    def _find_layout(self, block: bytes) -> None:
        layout = Layout()
        if first := _LINE_WITH_CONTENT.search(block):
            number = self._lines + block.count(b"\n", 0, first.start()) + 1
            layout = self._layout = Layout.from_first_line(first.group(), number)
        self._header_line = layout.header_line
        self._splitter = Splitter(layout, self._max_line_bytes)

    def _split_singly(self, lines: pa.StringArray, places: Numbers, codes: Codes) -> tuple[Numbers, pa.RecordBatch]:
        """Those of the places that hold three fields after all, and their fields. Blank lines are counted here."""
        blank = matches(lines.take(pa.array(places)), _BLANK)
        self._blank += int(blank.sum())
        places = places[~blank]
        codes[places], fields = self._splitter.singly(contents_of(lines.take(pa.array(places))))
        return places[codes[places] == GOOD], fields

    def _checked(self, places: Numbers, fields: pa.RecordBatch, codes: Codes) -> pa.RecordBatch:
        """The good rows among those in `places`, with their places; what is wrong with the others goes to `codes`."""
        codes[places], readings = self._checks.check(fields)
        return readings.append_column("place", pa.array(places[codes[places] == GOOD]))


def _in_parts(places: Numbers) -> Iterator[Numbers]:
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]


def _in_order(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    parts = [part for part in parts if len(part)] or parts[:1]
    rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts).sort_by("place")
    return rows.select(COLUMNS)
