"""Rejected lines: a CSV file of the first of them, the first few as objects, and the number of all by reason."""

import codecs
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from blocks.domain.models import NOT_SHOWN, Reject
from blocks.domain.text import printable
from flows.rows.arrays import Integers, full_match, to_integers
from flows.rows.lines import line_contents
from flows.rows.reasons import ReasonCodes, Reasons
from flows.rows.settings import ValidationSettings

SCHEMA = pa.schema({"line": pa.int64(), "reason": pa.string(), "text": pa.string()})
FIRST_REJECTS = 10
TEXT_BYTES = 1_000
"""The most bytes of a line that are shown."""

NOT_STORED = "not_stored"
"""In the column `reason` of a reject file's last record, which counts the rejected rows that are not stored."""

# Source: OWASP, "CSV Injection": the characters with which a formula starts in a spreadsheet, full-width ones included.
# Tabs and line ends, which OWASP lists too, are escaped before by `printable_lines`.
_FORMULA = r" *[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}].*"
# Where a comma is the decimal sign, a spreadsheet takes each semicolon for the start of a cell, also within quotes that
# did not start the cell. A quote may come before the formula, as the file of rejects doubles it. Plain numbers stay.
_LATER_FORMULA = r';[ "]*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]'
_LATER_CELL = re.compile(r';(?=[ "]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])(?! *[+-]?\d+(?:[.,]\d+)? *(?:;|$))')
_PUNCTUATION = len('1,"reason","text"\n') - len("1reasontext")


class RejectFile:
    """Writes the first rejected lines to a CSV file in the workspace, and counts all of them.

    The file is created with the first rejected line. Its size is bounded by the settings, not by the number of lines:
    a small compressed file can have hundreds of millions of them.
    """

    def __init__(self, workspace: Path, settings: ValidationSettings, reasons: Reasons) -> None:
        self.path: Path | None = None
        self.first: list[Reject] = []
        self.reasons: Counter[str] = Counter()
        self.stored = 0
        self._names = reasons.names
        self._texts = pa.array(["", *reasons.names])  # by code
        self._csv_path = workspace / "rejects.csv"
        self._files = ExitStack()
        self._rows_left = settings.max_stored_rejects
        self._bytes_left = settings.max_reject_bytes
        self._full = False
        self._show_rows = settings.show_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, numbers: Integers, codes: ReasonCodes, lines: pa.StringArray) -> None:
        r"""Count lines, each with its `\n`, by the codes of their reasons; write them, with their numbers, if they fit.

        Once a line does not fit, no later line is written: those in the file are the first ones.
        """
        for reason, count in zip(self._names, np.bincount(codes, minlength=len(self._texts))[1:].tolist(), strict=True):
            if count:
                self.reasons[reason] += count
        if not self._full:
            left = self._rows_left
            fitting = self._write(numbers[:left], codes[:left], lines[:left])
            self._full = fitting < len(numbers)

    def count_others(self) -> None:
        """Write a last record about the rejected lines that are not in the file, if there are any."""
        if others := self.reasons.total() - self.stored:
            text = (
                f"{others:,} more rejected rows are not in this file, which has the first {self.stored:,}; "
                "sensor-ingest check --rejects writes all"
            )
            self._writer.write(pa.RecordBatch.from_pylist([{"reason": NOT_STORED, "text": text}], schema=SCHEMA))

    def _write(self, numbers: Integers, codes: ReasonCodes, lines: pa.StringArray) -> int:
        """The number of lines, from the first, that fit into the file; they are written."""
        if self.path is None:
            self._open()
        rejects = [pa.array(numbers), self._texts.take(pa.array(codes)), printable_lines(lines)]
        batch = pa.RecordBatch.from_arrays([*rejects[:2], escape_formulas(rejects[2])], schema=SCHEMA)
        ends = np.cumsum(_record_bytes(batch))
        fitting = int(np.searchsorted(ends, self._bytes_left, side="right"))
        self._writer.write(batch[:fitting])
        self._rows_left -= fitting
        self._bytes_left -= int(ends[fitting - 1]) if fitting else 0
        self.stored += fitting
        shown = min(fitting, FIRST_REJECTS - len(self.first))
        for line, reason, text in zip(*(column[:shown].to_pylist() for column in rejects), strict=True):
            self.first.append(Reject(line=line, reason=reason, text=text if self._show_rows else NOT_SHOWN))
        return fitting

    def _open(self) -> None:
        self.path = self._csv_path
        self._writer = self._files.enter_context(pa.csv.CSVWriter(self.path, SCHEMA))


def _record_bytes(rejects: pa.RecordBatch) -> Integers:
    """The size of each reject as a record of the CSV file."""
    line, reason, text = rejects.columns
    cells = (line.cast(pa.string()), reason, text)
    sizes = sum(to_integers(pc.binary_length(cell)).astype(np.int64) for cell in cells)
    doubled_quotes = to_integers(pc.count_substring(text, '"'))
    record_bytes: Integers = sizes + doubled_quotes + _PUNCTUATION
    return record_bytes


def printable_lines(lines: pa.StringArray) -> pa.StringArray:
    r"""The lines without their `\n`: truncated to `TEXT_BYTES`, with invisible characters escaped as in `\x00`."""
    plain = full_match(lines, r"[ -~]*\n") & (to_integers(pc.binary_length(lines)) <= TEXT_BYTES)
    texts = pc.replace_substring(lines, "\n", "")
    if plain.all():
        return texts
    others = pa.array(~plain)
    escaped = pa.array(map(_printable_line, line_contents(lines.filter(others))), pa.string())
    return pc.replace_with_mask(texts, others, escaped)


def _printable_line(line: bytes) -> str:
    if len(line) > TEXT_BYTES:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")  # omits a character that is cut in two
        text = decoder.decode(line[:TEXT_BYTES]) + "…"
    else:
        text = line.decode("utf-8", "backslashreplace")
    return printable(text)


def escape_formulas(texts: pa.StringArray) -> pa.StringArray:
    """The texts as cells that no spreadsheet evaluates: an apostrophe precedes each that could be a formula.

    So does one each part of a text that starts at a semicolon, but for numbers such as -5.
    """
    formulas = full_match(texts, _FORMULA)
    if formulas.any():
        texts = pc.if_else(pa.array(formulas), pc.binary_join_element_wise("'", texts, ""), texts)
    later = pc.match_substring_regex(texts, _LATER_FORMULA)
    if pc.any(later).as_py():
        escaped = [_LATER_CELL.sub(";'", text) for text in texts.filter(later).to_pylist()]
        texts = pc.replace_with_mask(texts, later, pa.array(escaped, pa.string()))
    return texts
