"""Properties of validation that hold for every file."""

import io
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, cast
from unittest.mock import patch

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.rows import ValidationSettings, splitting, validate_file
from flows.rows.compression import MAGIC
from flows.rows.content import SIGNATURES
from flows.rows.decimals import DECIMAL, dynamodb_number
from tests.fakes.plain_rows import DYNAMODB, number_in, plain_outcome
from tests.flows.rows.streams_and_rows import Chunks, read_csv, rows_of
from tests.support.feeds import sensor_settings

NOON = 1483906366
REASONS = {
    *("field_count", "encoding", "item_size", "sensor_id", "sensor_id_range"),
    *("timestamp", "timestamp_range", "value", "value_range"),
}

thorough = settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])

sensor_ids = st.sampled_from(
    ["0000-0001", "0000-0002", "9999-9999", "00000001", "0000-000a", "", "x", "0000-000\u0661", "ä b"]
)
good_seconds = st.sampled_from([str(NOON), str(NOON), f"00{NOON}", f"{'0' * 30}{NOON}", str(NOON + 1), "946684800"])
seconds = good_seconds | st.sampled_from(["946684799", f"{NOON}000", "", "-5", "+5", "1.0", "9" * 25, "\u0661"])
values = st.one_of(
    st.from_regex(DECIMAL, fullmatch=True).filter(lambda text: len(text) < 60),
    st.sampled_from(
        ["10.10", "00.35", "1e400", "1e-400", "1" * 39, "nan", "1_0", "0x1", "", "\u0663", "=1", "1e-131", "9e125"]
    ),
)
line_ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r\n", " \t\n", "\n \n"])


@st.composite
def decorated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    text = draw(texts)
    quote = draw(st.sampled_from(["", "", "", '"', '"', "'"]))
    before, inside, after = (draw(st.sampled_from(["", "", "", " ", "\t "])) for _ in range(3))
    return f"{before}{quote}{inside}{text}{quote}{after}"


rows = st.tuples(decorated(sensor_ids), decorated(seconds), decorated(values)).map(",".join)
odd_lines = st.one_of(
    st.text(alphabet='0-1,". \t\x00\x0bé\u2028=', max_size=12),
    st.lists(decorated(sensor_ids), max_size=5).map(",".join),
    st.sampled_from(["sensor_id,timestamp,value", 'Value,"sensor_id",TIMESTAMP', '"', '""', "\ufeff", "x" * 90]),
)
lines = st.one_of(rows, rows, odd_lines).map(str.encode) | st.binary(max_size=12)
files = st.lists(st.tuples(lines, line_ends.map(str.encode)).map(b"".join), max_size=12).map(b"".join)
marked_files = st.tuples(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]), files).map(b"".join)
few_lines = st.sampled_from([0, 0, 100])


def outcome(source: BinaryIO, rules: ValidationSettings, few_lines: int = 0) -> dict[str, Any]:
    """The complete result of validation, with the content of the reject file and the readings.

    Fewer lines than `few_lines` are split one by one, all others as columns.
    """
    with tempfile.TemporaryDirectory() as workspace, patch.object(splitting, "FEW_LINES", few_lines):
        file = validate_file(source, Path(workspace), rules)
        return {
            "counts": file.counts,
            "verdict": file.verdict,
            "refusal": file.refusal,
            "reasons": file.reasons,
            "first_rejects": file.first_rejects,
            "rejects": read_csv(file.rejects_path) if file.rejects_path else [],
            "readings": rows_of(file),
        }


@thorough
@given(st.one_of(st.binary(max_size=400), marked_files), st.integers(1, 50), st.integers(1, 120), few_lines)
def test_every_line_of_any_file_is_counted_once(
    content: bytes, block_bytes: int, max_line_bytes: int, few: int
) -> None:
    rules = sensor_settings(block_bytes=block_bytes, max_line_bytes=max_line_bytes)
    found = outcome(io.BytesIO(content), rules, few)
    counts = found["counts"]
    numbers = [int(line) for line, _, _ in found["rejects"]]
    keys = [(sensor_id, timestamp) for sensor_id, timestamp, _ in found["readings"]]
    assert counts.lines == counts.header + counts.blank + counts.rows
    assert counts.rows == counts.accepted + counts.replaced + counts.rejected
    assert sorted(set(numbers)) == numbers
    assert counts.rejected == len(numbers) == sum(found["reasons"].values())
    assert set(found["reasons"]) <= REASONS
    assert len(set(keys)) == len(keys)
    assert len(keys) == (0 if found["verdict"] == "refused" else counts.accepted)
    assert (found["verdict"] == "refused") == (found["refusal"] is not None)


@thorough
@given(
    marked_files,
    st.integers(1, 100),
    st.sampled_from([40, 65_536]),
    st.sampled_from([r"\d{4}-\d{4}", "[^x]*"]),
    few_lines,
)
@example(b"\r\rtimestamp,value,sensor_id\r\n1483906366,1,0000-0001", 1, 65_536, r"\d{4}-\d{4}", 100)
@example(b'0000-0001,1483906366,"1\n', 100, 65_536, r"\d{4}-\d{4}", 0)
def test_a_file_has_the_same_outcome_as_in_a_plain_loop_over_its_lines(
    content: bytes, block_bytes: int, max_line_bytes: int, pattern: str, few: int
) -> None:
    rules = sensor_settings(
        block_bytes=block_bytes,
        max_line_bytes=max_line_bytes,
        sensor_id_pattern=pattern,
        latest=NOON + 1,
        reject_limit=1,
    )
    expected = plain_outcome(content, rules)
    if content.startswith((*MAGIC, *SIGNATURES)) or expected.lines == expected.header + expected.blank:
        return  # refused as a whole, which the files in tests/data test
    found = outcome(io.BytesIO(content), rules, few)
    assert expected.rejects == [(int(line), reason) for line, reason, _ in found["rejects"]]
    assert [(*key, value) for key, value in expected.readings.items()] == [
        (sensor_id, timestamp, Decimal(value)) for sensor_id, timestamp, value in found["readings"]
    ]
    assert (expected.lines, expected.header, expected.blank, expected.good) == (
        found["counts"].lines,
        found["counts"].header,
        found["counts"].blank,
        found["counts"].accepted + found["counts"].replaced,
    )


@thorough
@given(marked_files, st.integers(1, 200), st.data())
def test_the_outcome_does_not_depend_on_the_sizes_of_chunks_and_blocks(
    content: bytes, block_bytes: int, data: st.DataObject
) -> None:
    whole = outcome(io.BytesIO(content), sensor_settings(latest=NOON, reject_limit=0.5))
    chunks = Chunks(content, lambda: data.draw(st.integers(1, 20)))
    assert whole == outcome(
        cast("BinaryIO", chunks), sensor_settings(block_bytes=block_bytes, latest=NOON, reject_limit=0.5), few_lines=100
    )


@thorough
@given(st.from_regex(DECIMAL, fullmatch=True))
@example("1E-130")
@example("0E1000000000000000000")
@example("9.9999999999999999999999999999999999999E+125")
@example("-0." + "0" * 200 + "1e+200")
def test_the_text_for_dynamodb_is_exactly_the_number_in_the_file(text: str) -> None:
    stored = dynamodb_number(text)
    if stored is not None:
        assert number_in(text) == DYNAMODB.create_decimal(stored)
