"""A descriptor that is guessed from a sample, with what is not sure about it."""

import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from blocks.domain.feed.descriptor import parse_feed
from blocks.domain.feed.dialect import Dialect
from blocks.domain.s3_keys import DEFAULT_INCOMING
from deployments.commands.feed.columns import Column, guessed_column
from deployments.commands.feed.sample import Sample, SampleUnreadableError, read_sample
from flows.rows import ValidationSettings, validate_file

_KEY_TYPES: Final = ("string", "integer", "datetime", "date")
_CANDIDATES_SHOWN: Final = 5
_MOST_KEY_COLUMNS: Final = 12
_ID: Final = re.compile(
    r"(?i)(^|[_\W])(id|nr|no|name|station|sensor|device|site|node|logger|meter|serial)([_\W]|$)|Id$|ID$"
)


@dataclass(frozen=True)
class Candidate:
    """One or two columns that may be the key, and the share of rows that have a key of their own."""

    columns: tuple[Column, ...]
    unique: float

    def __str__(self) -> str:
        return f"{' + '.join(column.name for column in self.columns)} ({self.unique:.1%} unique)"

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Better keys have a greater one: unique, then by device and time, then by time, then others."""
        first, last = self.columns[0], self.columns[-1]
        names_device = first.type in ("string", "integer") and bool(_ID.search(first.name))
        is_timed = last.type in ("datetime", "date")
        order = 3 * (is_timed and names_device) or 2 * (is_timed and first is last) or 1 * is_timed
        return self.unique >= 1, order, round(1000 * self.unique)


@dataclass(frozen=True)
class Inferred:
    """A descriptor, and what a person should look at."""

    descriptor: dict[str, Any]
    notes: list[str]


def inferred_feed(path: Path, name: str | None = None) -> Inferred:
    """The descriptor that fits the sample.

    Args:
        path: a file that a feed would get, or the start of one.
        name: name of the feed; by default made of the file's name.

    Raises:
        OSError: the file cannot be read.
        SampleUnreadableError: it is no CSV, or its header cannot be one of a feed.
    """
    sample = read_sample(path)
    _check_names(path, sample)
    delimiter = sample.dialect.delimiter
    columns = [
        guessed_column(column, [row[place] for row in sample.rows], delimiter)
        for place, column in enumerate(sample.names)
    ]
    candidates = _candidates(sample, columns)
    notes = [f"{column.name}: {note}" for column in columns for note in column.notes]
    notes += _notes_of_key(candidates, columns) + _notes_of_sample(sample)
    name = name or _name_of(path)
    descriptor = _descriptor(name, sample.dialect, columns, candidates)
    parse_feed(descriptor, f"what was guessed from {path}")
    return Inferred(descriptor, [*notes, _tried(path, descriptor)])


def _descriptor(name: str, dialect: Dialect, columns: list[Column], candidates: list[Candidate]) -> dict[str, Any]:
    missing = sorted({text for column in columns for text in column.missing_values} - {""})
    common = [text for text in missing if not _means_something(text, columns)]
    fields = []
    for column in columns:
        described = column.as_field()
        if own := [text for text in column.missing_values if text and text not in common]:
            described["missingValues"] = ["", *common, *own]
        fields.append(described)
    schema: dict[str, Any] = {"fields": fields, "primaryKey": [column.name for column in candidates[0].columns]}
    schema |= {"missingValues": ["", *common]} if common else {}
    schema |= {"fieldsMatch": "equal"} if dialect.header else {}
    fine = any(column.has_fraction or column.format == "epoch-milliseconds" for column in columns)
    described = {"name": name, "prefix": f"{DEFAULT_INCOMING}{name}/"}
    described |= {"dialect": dialect.as_document()} if dialect.as_document() else {}
    return described | {
        "schema": schema,
        "rejectLimit": 0.1,
        "storage": {"table": name, "datetime": "epoch-milliseconds" if fine else "epoch-seconds"},
    }


def _means_something(text: str, columns: list[Column]) -> bool:
    """Whether the text would be a value of a column that it is not missing in."""
    return any(
        text not in column.missing_values and column.type in ("string", "integer", "number") for column in columns
    )


def _check_names(path: Path, sample: Sample) -> None:
    for name in sample.names:
        if not name.isprintable() or set(name) & {"{", "}"}:
            raise SampleUnreadableError(str(path), f"the column {name[:40]!r} has a name that no field can have")
    if not sample.rows:
        raise SampleUnreadableError(str(path), "has a header and no rows, so nothing says what the columns are")


def _candidates(sample: Sample, columns: list[Column]) -> list[Candidate]:
    """Keys of one column and of two, the best first; at least one."""
    usable = [place for place, column in enumerate(columns) if column.type in _KEY_TYPES and not column.has_missing]
    usable = usable[:_MOST_KEY_COLUMNS] or [0]
    places = [(place,) for place in usable]
    pairs = [pair if _sorts_last(columns[pair[1]]) else pair[::-1] for pair in combinations(usable, 2)]
    found = []
    for key in [*places, *pairs]:
        keys = {tuple(row[place] for place in key) for row in sample.rows}
        found.append(Candidate(tuple(columns[place] for place in key), len(keys) / len(sample.rows)))
    return sorted(found, key=lambda candidate: candidate.rank, reverse=True)


def _sorts_last(column: Column) -> bool:
    return column.type in ("datetime", "date")


def _notes_of_key(candidates: list[Candidate], columns: list[Column]) -> list[str]:
    best = candidates[0]
    notes = ["primaryKey: candidates are " + ", ".join(map(str, candidates[:_CANDIDATES_SHOWN]))]
    if best.unique < 1:
        notes.append(
            f"primaryKey: {1 - best.unique:.1%} of the rows would be replaced by a later row with the same key"
        )
    if len(best.columns) == 1 and best.columns[0].type in ("datetime", "date"):
        notes.append(
            "primaryKey: it is a time alone, so of two rows with the same time the later one counts. If a column names "
            "what a row is about, put it first. If each file is about one device, have the key of the file name it: "
            'a field {"name": "device", "type": "string"}, "primaryKey": ["device", …], the prefix incoming/…/{device}/'
        )
    if not any(column.type == "datetime" for column in columns):
        notes.append("no column is a datetime")
    return notes


def _notes_of_sample(sample: Sample) -> list[str]:
    notes = []
    if not sample.dialect.header:
        notes.append("the sample has no header: name the fields")
    if sample.left_out:
        notes.append(f"{sample.left_out} line(s) have another number of fields than the others, and were left out")
    if not sample.is_whole:
        notes.append(f"only the first {len(sample.rows):,} rows were looked at")
    return notes


def _name_of(path: Path) -> str:
    """`weather` for `Weather_2026-11-01.csv.gz`: a name that a feed and its table can have, without a date."""
    stem = re.sub(r"[^a-z0-9]+", "-", path.name.split(".")[0].lower()).strip("-")
    stem = re.sub(r"(?<=[a-z]{3})-?[12][0-9]{3}(-?[0-9]{2}){0,2}$", "", stem)
    return stem if len(stem) >= 3 else f"feed-{stem}".rstrip("-")  # noqa: PLR2004 - the shortest name of a table


def _tried(path: Path, descriptor: dict[str, Any]) -> str:
    """What becomes of the sample with the descriptor."""
    settings = ValidationSettings(feed=parse_feed(descriptor, str(path)))
    with path.open("rb") as source, TemporaryDirectory(prefix="sensor-ingest-") as workspace:
        counts = validate_file(source, Path(workspace), settings).counts
    return f"with it, {counts.accepted:,} of {counts.rows:,} rows are accepted, {counts.rejected:,} rejected"
