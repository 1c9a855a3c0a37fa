"""Rejected lines: a CSV file of all of them, the first few as objects, and their number by reason."""

import codecs
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from blocks.domain.models import Reject
from blocks.domain.text import printable
from flows.rows.arrays import Integers, full_match, to_integers
from flows.rows.lines import line_contents
from flows.rows.rules import ReasonCodes
from flows.rows.settings import REASONS

SCHEMA = pa.schema({"line": pa.int64(), "reason": pa.string(), "text": pa.string()})
FIRST_REJECTS = 10
TEXT_BYTES = 1_000
"""The most bytes of a line that are shown."""

# Source: OWASP, "CSV Injection": the characters with which a formula starts in a spreadsheet, full-width ones included.
# Tabs and line ends, which OWASP lists too, are escaped before by `printable_lines`.
_FORMULA = r" *[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}].*"
_REASONS = pa.array(["", *REASONS])  # by reason code


class RejectFile:
    """Writes rejected lines to a CSV file in the workspace, which is created with the first of them."""

    def __init__(self, workspace: Path) -> None:
        self.path: Path | None = None
        self.first: list[Reject] = []
        self.reasons: Counter[str] = Counter()
        self._csv_path = workspace / "rejects.csv"
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, numbers: Integers, codes: ReasonCodes, lines: pa.StringArray) -> None:
        r"""Write lines, each with its `\n`, with their line numbers (from 1) and the codes of their reasons."""
        if self.path is None:
            self._open()
        rejects = [pa.array(numbers), _REASONS.take(pa.array(codes)), printable_lines(lines)]
        for line, reason, text in zip(*(column[: FIRST_REJECTS - len(self.first)] for column in rejects), strict=True):
            self.first.append(Reject(line=line.as_py(), reason=reason.as_py(), text=text.as_py()))
        self.reasons.update(rejects[1].to_pylist())
        self._writer.write(pa.RecordBatch.from_arrays([*rejects[:2], escape_formulas(rejects[2])], schema=SCHEMA))

    def _open(self) -> None:
        self.path = self._csv_path
        self._writer = self._files.enter_context(pa.csv.CSVWriter(self.path, SCHEMA))


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
    """The texts as cells that no spreadsheet evaluates: an apostrophe precedes each that could be a formula."""
    formulas = full_match(texts, _FORMULA)
    return (
        pc.if_else(pa.array(formulas), pc.binary_join_element_wise("'", texts, ""), texts) if formulas.any() else texts
    )
