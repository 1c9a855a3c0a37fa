"""Whatever a feed declares and whatever is in a file: validation ends with the items of a plain loop."""

import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.dynamodb.attributes import items_of
from flows.rows import ValidationSettings, splitting, validate_file
from flows.rows.compression import MAGIC
from flows.rows.content import SIGNATURES
from tests.fakes.plain_rows import RefusedFileError, plain_outcome
from tests.flows.rows.feed_strategies import NOW, Declared, feeds, files
from tests.flows.rows.streams_and_rows import Chunks, read_csv

thorough = settings(max_examples=120, deadline=None, suppress_health_check=[*HealthCheck])
TO_PYTHON = {"S": str, "N": Decimal, "BOOL": bool}


def outcome(content: BinaryIO, rules: ValidationSettings) -> dict[str, Any]:
    """The result of validation, with the items as Python values and the content of the reject file."""
    with TemporaryDirectory() as workspace:
        file = validate_file(content, Path(workspace), rules)
        items = [
            {name: TO_PYTHON[type_](value) for name, typed in item.items() for type_, value in typed.items()}
            for batch in file.items()
            for item in items_of(batch)
        ]
        rejects = read_csv(file.rejects_path) if file.rejects_path else []
    counts = file.counts
    assert counts.lines == counts.header + counts.blank + counts.rows
    assert counts.rows == counts.accepted + counts.replaced + counts.rejected
    assert counts.rejected == sum(file.reasons.values()) == len(rejects)
    return {
        "counts": counts,
        "refusal": file.refusal,
        "items": items,
        "rejects": [(int(line), reason) for line, reason, _ in rejects],
        "summary": file.summary,
    }


def with_time_to_live(item: dict[str, Any], declared: Declared) -> dict[str, Any]:
    """The item with the attribute for its end: that many days after the second of a datetime of it."""
    declared_end = declared.feed.storage.time_to_live
    if declared_end is None or declared_end.field not in item:
        return item
    at = item[declared_end.field]
    storage = declared.feed.storage.datetime
    if storage == "iso":
        return item | {declared_end.attribute: None}
    second = at // 1 if storage == "epoch-seconds" else at // 1000
    if second * (1 if storage == "epoch-seconds" else 1000) > at:  # `//` of a Decimal cuts off towards zero
        second -= 1
    return item | {declared_end.attribute: second + declared_end.days * 86_400}


@thorough
@given(st.data())
def test_a_file_of_any_feed_has_the_same_outcome_as_in_a_plain_loop(data: st.DataObject) -> None:
    declared = data.draw(feeds())
    content = data.draw(files(declared))
    block_bytes, max_line_bytes = (
        data.draw(st.sampled_from([1, 20, 50, 200, 10_000])),
        data.draw(st.sampled_from([60, 65_536])),
    )
    rules = ValidationSettings(
        feed=declared.feed,
        key_values=declared.key_values,
        now=NOW,
        block_bytes=block_bytes,
        max_line_bytes=max_line_bytes,
    )
    with patch.object(splitting, "FEW_LINES", data.draw(st.sampled_from([0, 0, 100]))):
        found = outcome(io.BytesIO(content), rules)
    if content.startswith((*MAGIC, *SIGNATURES)):
        return  # refused as a whole, which the files in tests/data test
    try:
        expected = plain_outcome(content, rules)
    except RefusedFileError:
        assert "its first line is the header" in (found["refusal"] or "")
        assert (0, []) == (found["counts"].lines, found["items"])
        return
    counts = found["counts"]
    assert (expected.lines, expected.header, expected.blank, expected.good) == (
        counts.lines,
        counts.header,
        counts.blank,
        counts.accepted + counts.replaced,
    )
    assert expected.rejects == found["rejects"]
    end = declared.feed.storage.time_to_live
    items = found["items"]
    if end and declared.feed.storage.datetime == "iso":
        items = [item | ({end.attribute: None} if end.attribute in item else {}) for item in items]
    assert [with_time_to_live(item, declared) for item in expected.items.values()] == items


@thorough
@given(st.data())
def test_the_outcome_of_any_feed_does_not_depend_on_the_sizes_of_chunks_and_blocks(data: st.DataObject) -> None:
    declared = data.draw(feeds())
    content = data.draw(st.one_of(files(declared), st.binary(max_size=300)))
    rules = ValidationSettings(feed=declared.feed, key_values=declared.key_values, now=NOW)
    with patch.object(splitting, "FEW_LINES", 0):
        whole = outcome(io.BytesIO(content), rules)
    chunks = Chunks(content, lambda: data.draw(st.integers(1, 20)))
    in_blocks = replace(rules, block_bytes=data.draw(st.integers(1, 200)))
    assert whole == outcome(cast("BinaryIO", chunks), in_blocks)
