"""Refused rows: a CSV file of all of them, the first few as values, and how many there are of each reason."""

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
from flows.rows.arrays import Numbers, matches, to_numbers
from flows.rows.field_checks import Codes
from flows.rows.lines import contents_of
from flows.rows.rules import REASONS

SCHEMA = pa.schema({"line": pa.int64(), "reason": pa.string(), "text": pa.string()})
FIRST_REJECTS = 10
TEXT_BYTES = 1_000
"""Bytes of a line that are shown at most."""

# Source: OWASP, "CSV Injection": the characters that make a spreadsheet take a cell for a formula, full-width ones too.
# Tabs and line ends are among them; `shown` has spelled those out.
_FORMULA = r" *[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}].*"
_REASONS = pa.array(["", *REASONS])


class RejectFile:
    """Rejects, written to a CSV file in the workspace as they come. There is no file as long as there are none."""

    def __init__(self, workspace: Path) -> None:
        self.path: Path | None = None
        self.first: list[Reject] = []
        self.reasons: Counter[str] = Counter()
        self._to_be = workspace / "rejects.csv"
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, numbers: Numbers, codes: Codes, lines: pa.StringArray) -> None:
        """Keep some lines, with their numbers and the codes of the reasons; `lines` include their ends."""
        if self.path is None:
            self._open()
        rejects = [pa.array(numbers), _REASONS.take(pa.array(codes)), shown(lines)]
        for line, reason, text in zip(*(column[: FIRST_REJECTS - len(self.first)] for column in rejects), strict=True):
            self.first.append(Reject(line=line.as_py(), reason=reason.as_py(), text=text.as_py()))
        self.reasons.update(rejects[1].to_pylist())
        self._writer.write(pa.RecordBatch.from_arrays([*rejects[:2], without_formulas(rejects[2])], schema=SCHEMA))

    def _open(self) -> None:
        self.path = self._to_be
        self._writer = self._files.enter_context(pa.csv.CSVWriter(self.path, SCHEMA))


def shown(lines: pa.StringArray) -> pa.StringArray:
    r"""The lines, with their ends, as people can read them: long ones cut, and what is no visible text as `\x00`."""
    plain = matches(lines, r"[ -~]*\n") & (to_numbers(pc.binary_length(lines)) <= TEXT_BYTES)
    texts = pc.replace_substring(lines, "\n", "")
    if plain.all():
        return texts
    others = pa.array(~plain)
    visible = pa.array(map(_shown, contents_of(lines.filter(others))), pa.string())
    return pc.replace_with_mask(texts, others, visible)


def _shown(line: bytes) -> str:
    if len(line) > TEXT_BYTES:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")  # leaves out a character cut in half
        text = decoder.decode(line[:TEXT_BYTES]) + "…"
    else:
        text = line.decode("utf-8", "backslashreplace")
    return printable(text)


def without_formulas(texts: pa.StringArray) -> pa.StringArray:
    """The texts as cells that no spreadsheet runs: after an apostrophe where one might start a formula."""
    formulas = matches(texts, _FORMULA)
    return (
        pc.if_else(pa.array(formulas), pc.binary_join_element_wise("'", texts, ""), texts) if formulas.any() else texts
    )
