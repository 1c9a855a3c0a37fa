"""A sample of a file as a table of texts: its delimiter, comments and header are guessed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blocks.domain.errors import SensorIngestError
from blocks.domain.feed.dialect import Dialect
from flows.rows import ValidationSettings
from flows.rows.content import SIGNATURES, open_csv
from flows.rows.header import DELIMITERS
from flows.rows.settings import RefusedError
from flows.rows.splitting import split_line

SAMPLE_BYTES: Final = 4 * 2**20
MOST_ROWS: Final = 5_000

_CONSISTENT: Final = 0.9
_COMMENT: Final = "#"


class SampleUnreadableError(SensorIngestError):
    """A file is no CSV that a feed could be guessed from."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}. `feed infer` needs a text file in UTF-8 with a header or rows.")


@dataclass(frozen=True)
class Sample:
    """The rows of a sample; all have the same number of fields."""

    dialect: Dialect
    names: tuple[str, ...]
    rows: list[list[str]]
    left_out: int
    """Lines with another number of fields."""
    is_whole: bool
    """Whether these are all rows of the file."""


def read_sample(path: Path) -> Sample:
    """The rows at the start of a file, up to a number of bytes and rows.

    Raises:
        OSError: the file cannot be read.
        SampleUnreadableError: it is no CSV.
    """
    try:
        with path.open("rb") as source, open_csv(source, ValidationSettings(), None) as content:
            head = content.read(SAMPLE_BYTES)
    except RefusedError as error:
        raise SampleUnreadableError(str(path), str(error)) from error
    if kind := next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), None):
        raise SampleUnreadableError(str(path), f"looks like {kind}")
    if b"\0" in head:
        raise SampleUnreadableError(str(path), "has NUL bytes")
    try:
        lines = head.decode().splitlines()
    except UnicodeDecodeError as error:
        if len(head) - error.start >= 4 or len(head) < SAMPLE_BYTES:  # noqa: PLR2004 - the bytes of one character
            raise SampleUnreadableError(str(path), f"is not UTF-8 at byte {error.start:,}; save it as UTF-8") from error
        lines = head[: error.start].decode().splitlines()
    is_whole = len(head) < SAMPLE_BYTES and len(lines) <= MOST_ROWS
    lines = [line for line in lines[:MOST_ROWS] if line.strip()]
    has_comments = any(line.startswith(_COMMENT) for line in lines)
    lines = [line for line in lines if not line.startswith(_COMMENT)]
    if not lines:
        raise SampleUnreadableError(str(path), "has no rows")
    return _table(lines, has_comments=has_comments, is_whole=is_whole)


def _table(lines: list[str], *, has_comments: bool, is_whole: bool) -> Sample:
    delimiter = next((each for each in DELIMITERS if _is_delimiter(each, lines)), ",")
    dialect = Dialect(delimiter=delimiter)
    split = [split_line(line, dialect) for line in lines]
    columns = Counter(map(len, split)).most_common(1)[0][0]
    rows = [row for row in split if len(row) == columns]
    header = len(split[0]) == columns and _is_header(rows)
    names = tuple(rows[0]) if header else tuple(f"field{place + 1}" for place in range(columns))
    given = {"delimiter": delimiter, "header": header} | ({"comment_char": _COMMENT} if has_comments else {})
    if delimiter == ",":
        del given["delimiter"]
    if header:
        del given["header"]
    return Sample(Dialect.model_validate(given), names, rows[header:], len(split) - len(rows), is_whole)


def _is_delimiter(delimiter: str, lines: Sequence[str]) -> bool:
    """Whether nearly all lines have the same number of fields, and more than one, with it."""
    dialect = Dialect(delimiter=delimiter)
    counts = Counter(len(split_line(line, dialect)) for line in lines)
    fields, count = counts.most_common(1)[0]
    return fields > 1 and count >= _CONSISTENT * len(lines)


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: different texts without a number, of which none comes again below."""
    first = rows[0]
    if len({name.casefold() for name in first}) < len(first) or not all(first):
        return False
    if any(name[0].isdigit() or (name[0] in "+-." and name[1:2].isdigit()) for name in first):
        return False
    return not any(name == row[place] for row in rows[1:] for place, name in enumerate(first))
