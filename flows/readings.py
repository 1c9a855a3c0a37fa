"""Rules about rows: which lines of a file are readings, which are refused and why. Pure: no Prefect, no AWS."""

import csv
import gzip
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import pandas as pd

from flows.models import Reject, RowCounts, Verdict

Reason = Literal["field_count", "sensor_id", "timestamp", "timestamp_range", "value", "value_range", "encoding"]
REASONS: tuple[Reason, ...] = get_args(Reason)
COLUMNS = ("sensor_id", "timestamp", "value")
A_DAY = 86_400
TIMESTAMP_DIGITS = 18
# Source: "Supported data types" in the Amazon DynamoDB developer guide.
DYNAMODB_DIGITS = 38
DYNAMODB_MAGNITUDES = range(-130, 126)


@dataclass(frozen=True)
class RowRules:
    """What a row has to look like, and how much may be wrong with a file."""

    sensor_id_pattern: str = r"\d{4}-\d{4}"
    earliest: int = 946_684_800  # 2000-01-01T00:00:00Z
    latest: int | None = None  # a day ahead of now
    reject_limit: float = 0.10
    max_line_bytes: int = 65_536
    max_decompressed_bytes: int = 2**35


@dataclass(frozen=True)
class ValidatedFile:
    """What became of a file's lines; its readings and rejects wait in the workspace."""

    counts: RowCounts
    verdict: Verdict
    reasons: dict[str, int] = field(default_factory=dict)
    first_rejects: list[Reject] = field(default_factory=list)
    refusal: str | None = None
    rejects_path: Path | None = None
    _frame: pd.DataFrame | None = None

    def readings(self) -> Iterator[pd.DataFrame]:
        """Frames of `sensor_id` (string), `timestamp` (int64, seconds), `value` (string, a decimal); no key twice."""
        if self._frame is not None:
            yield self._frame


class _RefusedError(Exception):
    """The row breaks a rule."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def validate_file(
    source: BinaryIO, workspace: Path, rules: RowRules | None = None, progress: Callable[[int], None] | None = None
) -> ValidatedFile:
    """Counts, verdict and good rows of the CSV in `source`. What is wrong with it is data, never an exception."""
    rules = rules or RowRules()
    latest = rules.latest if rules.latest is not None else int(time.time()) + A_DAY
    content = source.read()
    if progress:
        progress(len(content))
    try:
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return _unreadable("looks like gzip, damaged or cut off")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _unreadable("looks like UTF-16 text")
    lines = re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf"))
    lines = lines if lines[-1] else lines[:-1]
    if not lines:
        return _unreadable("empty file")
    blank = header = good = 0
    rows: dict[tuple[str, int], str] = {}
    rejects: list[Reject] = []
    order = [0, 1, 2]
    for number, line in enumerate(lines, start=1):
        if not line.strip(b" \t"):
            blank += 1
            continue
        if number == blank + 1 and (found := _header(line)):
            header, order = 1, found
            continue
        try:
            sensor_id, timestamp, value = _row(line, order, rules, latest)
        except _RefusedError as refused:
            text = line[:1000].decode("utf-8", "backslashreplace")
            rejects.append(Reject(line=number, reason=refused.reason, text=text))
        else:
            good += 1
            rows[sensor_id, timestamp] = value
    counts = RowCounts(
        lines=len(lines),
        header=header,
        blank=blank,
        rows=good + len(rejects),
        accepted=len(rows),
        replaced=good - len(rows),
        rejected=len(rejects),
    )
    refusal = _refusal(counts, rules)
    frame = pd.DataFrame(
        {
            "sensor_id": pd.array([key[0] for key in rows], dtype="string[pyarrow]"),
            "timestamp": pd.Series([key[1] for key in rows], dtype="int64"),
            "value": pd.array(list(rows.values()), dtype="string[pyarrow]"),
        }
    )
    return ValidatedFile(
        counts=counts,
        verdict="refused" if refusal else "partly" if rejects else "accepted",
        reasons=dict(Counter(reject.reason for reject in rejects)),
        first_rejects=rejects[:10],
        refusal=refusal,
        rejects_path=_write_rejects(workspace, rejects) if rejects else None,
        _frame=None if refusal else frame,
    )


def _unreadable(refusal: str) -> ValidatedFile:
    return ValidatedFile(counts=RowCounts(), verdict="refused", refusal=refusal)


def _refusal(counts: RowCounts, rules: RowRules) -> str | None:
    if not counts.rows:
        return "no rows"
    if counts.rejected <= Fraction(str(rules.reject_limit)) * counts.rows:
        return None
    share, limit = counts.rejected / counts.rows, rules.reject_limit
    return f"{counts.rejected} of {counts.rows} rows ({share:.0%}) break a rule; the limit is {limit:.0%}"


def _fields(line: bytes) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _RefusedError("encoding") from error
    if "\x00" in text:
        raise _RefusedError("encoding")
    quoted = re.fullmatch(r'(?:[ \t]*(?:"[^"]*"|[^",]*)[ \t]*,)*', text + ",")
    fields = re.findall(r'("[^"]*"|[^",]*)[ \t]*,', text + ",") if quoted else text.split(",")
    fields = [part.strip(" \t") for part in fields]
    return [part[1:-1].strip(" \t") if quoted and part.startswith('"') else part for part in fields]


def _header(line: bytes) -> list[int] | None:
    try:
        names = [name.lower() for name in _fields(line)]
    except _RefusedError:
        return None
    return [names.index(column) for column in COLUMNS] if sorted(names) == sorted(COLUMNS) else None


def _row(line: bytes, order: list[int], rules: RowRules, latest: int) -> tuple[str, int, str]:
    fields = _fields(line) if len(line) <= rules.max_line_bytes else []
    if len(fields) != len(COLUMNS):
        raise _RefusedError("field_count")
    sensor_id, timestamp, value = (fields[place] for place in order)
    if not re.fullmatch(rules.sensor_id_pattern, sensor_id, re.ASCII):
        raise _RefusedError("sensor_id")
    if not re.fullmatch(r"[0-9]+", timestamp):
        raise _RefusedError("timestamp")
    if len(timestamp.lstrip("0")) > TIMESTAMP_DIGITS or not rules.earliest <= int(timestamp) <= latest:
        raise _RefusedError("timestamp_range")
    return sensor_id, int(timestamp), _number(value)


def _number(text: str) -> str:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise _RefusedError("value")
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation as error:
        raise _RefusedError("value_range") from error
    significant = "".join(map(str, digits)).strip("0")
    if not significant:
        return "0"
    shift = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    number = Decimal((sign, tuple(map(int, significant)), int(exponent) + shift))
    if len(significant) > DYNAMODB_DIGITS or number.adjusted() not in DYNAMODB_MAGNITUDES:
        raise _RefusedError("value_range")
    return str(number)


def _write_rejects(workspace: Path, rejects: list[Reject]) -> Path:
    path = workspace / "rejects.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("line", "reason", "text"))
        for reject in rejects:
            unsafe = reject.text.lstrip().startswith(("=", "+", "-", "@")) or reject.text.startswith(("\t", "\r"))
            writer.writerow((reject.line, reject.reason, f"'{reject.text}" if unsafe else reject.text))
    return path
