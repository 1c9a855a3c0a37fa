"""Keys of rows as integers: equal keys are equal, different ones different, whatever their types."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.domain.feed.descriptor import Feed
from flows.rows import ValidationSettings, validate_file
from flows.rows.duplicates import DuplicateFinder, replaced_by_later
from flows.rows.key_encoding import DigitsCode, Fingerprints
from flows.rows.row_keys import RowKeys
from flows.rows.rules import RowRules
from tests.flows.rows.streams_and_rows import Stream

MIB = 2**20


def feed_of(*fields: dict[str, Any], key: list[str]) -> Feed:
    return Feed.model_validate(
        {"name": "any", "dialect": {"header": False}, "schema": {"fields": list(fields), "primaryKey": key}}
    )


def words_of(feed: Feed, **key_values: str) -> int:
    return RowKeys(feed, RowRules(ValidationSettings(feed=feed, key_values=key_values))).words


TEXT: dict[str, Any] = {"name": "id", "type": "string"}
DIGITS = TEXT | {"constraints": {"pattern": r"\d{4}-\d{4}"}}
ENUM = TEXT | {"constraints": {"enum": ["a", "b", "c"]}}
SECONDS = {"name": "at", "type": "datetime", "format": "epoch"}
ISO = {"name": "at", "type": "datetime"}


@pytest.mark.parametrize(
    ("words", "fields", "key_values"),
    [
        (1, (DIGITS, SECONDS), {}),
        (1, (ENUM, SECONDS), {}),
        (1, (TEXT, SECONDS), {"id": "from the key"}),
        (2, (TEXT, SECONDS), {}),
        (2, (DIGITS, ISO), {}),
    ],
    ids=["digits and seconds", "a list and seconds", "only seconds in the lines", "any text", "fractions of a second"],
)
def test_a_key_takes_8_bytes_if_it_fits_and_16_else(
    words: int, fields: tuple[dict[str, Any], ...], key_values: dict[str, str]
) -> None:
    assert words == words_of(feed_of(*fields, key=["id", "at"]), **key_values)


@pytest.mark.parametrize(
    ("pattern", "text", "number"),
    [
        (r"\d{4}-\d{4}", "0012-3456", 123456),
        (r"\d{3}", "007", 7),
        (r"S\d\d_\d{7}", "S12_3456789", 123456789),
        (r"\d{9}x\d{9}", "123456789x987654321", 123456789987654321),
    ],
)
def test_texts_with_digits_at_fixed_places_are_their_number(pattern: str, text: str, number: int) -> None:
    code = DigitsCode.of_pattern(pattern)
    assert code
    texts = pa.array([text, text, text])
    assert ([number] * 3, [number] * 2) == (code(texts).tolist(), code(texts.slice(1)).tolist())
    assert number.bit_length() <= code.bits


@pytest.mark.parametrize("pattern", [r"\d+", r"\d{4}|x", r"\d{19}", "abc", ".", r"\d{2,3}", r"(\d)", ""])
def test_other_patterns_have_no_number(pattern: str) -> None:
    assert DigitsCode.of_pattern(pattern) is None


texts = st.text(alphabet="ab\x00é", max_size=9)


@given(st.lists(st.tuples(texts, texts, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=40), st.integers(0, 5))
def test_fingerprints_are_equal_if_and_only_if_keys_are(rows: list[tuple[str, str, int]], start: int) -> None:
    columns = [pa.array(column) for column in zip(*(rows[:start] + rows), strict=True)]
    prints = Fingerprints(2)([column.slice(min(start, len(rows))) for column in columns])
    groups: dict[tuple[int, ...], set[tuple[str, str, int]]] = {}
    for row, found in zip(rows, prints.tolist(), strict=True):
        groups.setdefault(tuple(found), set()).add(row)
    assert [1] * len(groups) == [len(group) for group in groups.values()]
    assert len(set(rows)) == len(groups)


def test_a_fingerprint_depends_on_the_column_of_a_text() -> None:
    prints = Fingerprints(2)([pa.array(["ab", "a", "", "b"]), pa.array(["", "b", "ab", "a"])])
    assert 4 == len({tuple(row) for row in prints.tolist()})


@pytest.mark.parametrize("memory", [MIB, 64 * MIB], ids=["many partitions", "one partition"])
def test_of_wide_keys_the_last_row_is_found_in_partitions_too(tmp_path: Path, memory: int) -> None:
    random = np.random.default_rng(2)
    keys = random.integers(0, 300, (40_000, 2)).astype(np.int64) << 50
    with DuplicateFinder(tmp_path / "keys", memory, words=2) as finder:
        for start in range(0, len(keys), 7_000):
            finder.add(keys[start : start + 7_000])
        found = np.concatenate(list(finder.replaced_rows()))
    last = {tuple(key): row for row, key in enumerate(keys.tolist())}
    assert sorted(set(range(len(keys))) - set(last.values())) == sorted(found.tolist())
    assert sorted(found.tolist()) == np.flatnonzero(replaced_by_later(keys)).tolist()


def test_equal_instants_and_numbers_are_one_key_however_they_are_written(tmp_path: Path) -> None:
    feed = feed_of(ISO, {"name": "n", "type": "number"}, key=["at", "n"])
    lines = [
        "2026-01-31T12:00:00Z,1",
        "2026-01-31T13:30:00+01:30,1.0",
        "2026-01-31T12:00:00.000,10e-1",
        "2026-01-31T12:00:00,+1",
    ]
    now = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp())
    source: Any = Stream(f"{line}\n".encode() for line in lines)
    file = validate_file(source, tmp_path, ValidationSettings(feed=feed, now=now, block_bytes=5))
    assert (1, 3) == (file.counts.accepted, file.counts.replaced)
    [batch] = file.items()
    assert [{"at": "1769860800", "n": "1"}] == batch.to_pylist()


def test_an_item_that_is_larger_than_dynamodb_takes_is_a_reject(tmp_path: Path) -> None:
    feed = feed_of(TEXT, {"name": "note", "type": "string"}, key=["id"])
    feed = feed.model_copy(update={"reject_limit": 1.0})
    fits = 400 * 1024 - len("idnote") - len("b")
    content = b"a," + b"x" * (fits + 1) + b"\nb," + b"x" * fits + b"\n"
    source: Any = Stream(iter([content]))
    file = validate_file(source, tmp_path, ValidationSettings(feed=feed, max_line_bytes=2**20))
    assert ({"item_size": 1}, 1) == (file.reasons, file.counts.accepted)
    assert [1] == [reject.line for reject in file.first_rejects]


@pytest.mark.parametrize(("place", "most"), [(0, 2048), (1, 1024)], ids=["partition key", "sort key"])
def test_a_text_that_is_too_long_for_its_part_of_the_key_is_a_reject(tmp_path: Path, place: int, most: int) -> None:
    fields = ["id", "name"]
    feed = feed_of(*({"name": name, "type": "string"} for name in fields), key=fields)
    feed = feed.model_copy(update={"reject_limit": 1.0})
    rows = [["a", "b"], ["a", "b"]]
    for length, row in zip((most, most + 1), rows, strict=True):
        row[place] = "é" * (length // 2) + "x" * (length % 2)
    source: Any = Stream(iter(["".join(f"{','.join(row)}\n" for row in rows).encode()]))
    file = validate_file(source, tmp_path, ValidationSettings(feed=feed))
    assert ({fields[place]: 1}, 1) == (file.reasons, file.counts.accepted)
