"""Files that are too large for tests/data, and the settings that bound the memory and time of validation."""

import csv
import gzip
import io
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from blocks.dynamodb.attributes import items_of, key_names
from flows.rows import ValidatedFile, ValidationSettings, accepted_rows, validate_file
from flows.rows.duplicates import DuplicateFinder
from tests.flows.rows.streams_and_rows import Stream, read_csv
from tests.support.feeds import sensor_settings

NOON = 1483906366
ROW = b"0000-0001,1483906366,10.10\n"
TIMESTAMP_BITS = 36  # of the 64 of a key: enough until the year 4147
MIB = 2**20


def validated(content: bytes | Iterator[bytes], workspace: Path, **rules: Any) -> ValidatedFile:  # noqa: ANN401
    source = io.BytesIO(content) if isinstance(content, bytes) else Stream(content)
    return validate_file(cast("BinaryIO", source), workspace, sensor_settings(**rules))


def readings(file: ValidatedFile) -> pd.DataFrame:
    frames: list[pd.DataFrame] = [batch.to_pandas() for batch in file.items()]
    return pd.concat(frames, ignore_index=True)


def test_a_line_of_100_mb_without_a_line_end_is_rejected_in_little_memory(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield ROW
        for _ in range(100):
            yield b"1" * MIB

    tracemalloc.start()
    file = validated(chunks(), tmp_path, reject_limit=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (2, 1, {"field_count": 1}) == (file.counts.lines, file.counts.accepted, file.reasons)
    assert peak < 20 * MIB


def test_a_line_that_is_longer_than_many_blocks_is_counted_once(tmp_path: Path) -> None:
    content = ROW + b"x" * 300_000 + b"\n" + ROW.replace(b"0001", b"0002")
    file = validated(content, tmp_path, block_bytes=1000, reject_limit=0.5)
    assert ["0000-0001", "0000-0002"] == list(readings(file)["sensor_id"])
    assert [2] == [reject.line for reject in file.first_rejects]


@pytest.mark.parametrize(
    "line",
    [
        b"0000-0001,1483906366," + b"1" * 60_000 + b"x",
        b"0000-0001,1483906366," + b"." * 60_000,
        b"0000-0001," + b"0" * 60_000 + b"x,1",
        b" " * 60_000 + b'"x',
        b'""' * 30_000 + b"x",
        b'"' * 60_001,
        b"," * 60_000,
        b'",' * 30_000,
    ],
    ids=["digits", "dots", "zeros", "spaces", "pairs of quotes", "quotes", "commas", "quotes and commas"],
)
def test_no_line_takes_more_than_linear_time(line: bytes, tmp_path: Path) -> None:
    """An expression that backtracks would take hours for these lines: the test is that it ends."""
    file = validated((line + b"\n") * 20, tmp_path, reject_limit=1)
    assert 20 == file.counts.rejected


def test_every_line_of_a_block_of_many_short_rejects_is_counted(tmp_path: Path) -> None:
    file = validated(b"x\n" * 30_000 + b"\n" * 30_000 + ROW, tmp_path, reject_limit=1)
    assert (60_001, 30_000, 30_000) == (file.counts.lines, file.counts.blank, file.counts.rejected)
    *stored, others = read_csv(cast("Path", file.rejects_path))
    assert (10_000, 10_000, "10000") == (len(stored), file.rejects_stored, stored[-1][0])
    assert ("", "not_stored") == others[:2]
    assert others[2].startswith("20,000 more rejected rows are not in this file, which has the first 10,000;")


def test_a_small_gzip_of_many_short_rejects_has_a_small_reject_file(tmp_path: Path) -> None:
    content = gzip.compress(b"x\n" * 2_000_000)
    file = validated(content, tmp_path)
    assert ("refused", {"field_count": 2_000_000}) == (file.verdict, file.reasons)
    assert cast("Path", file.rejects_path).stat().st_size < MIB


@pytest.mark.parametrize("block_bytes", [100, 3000, 2 * MIB])
@pytest.mark.parametrize("line", [b"\x00" * 990, b'"' * 997, b"=1+1", b"\xff" * 2000, b"x"])
def test_the_reject_file_has_the_first_rejects_up_to_its_size(line: bytes, block_bytes: int, tmp_path: Path) -> None:
    limit = 20_000
    content = (line + b"\n") * 1000
    file = validated(content, tmp_path, max_reject_bytes=limit, block_bytes=block_bytes)
    path = cast("Path", file.rejects_path)
    *records, _ = path.read_bytes().splitlines(keepends=True)[1:]
    stored = sum(map(len, records))
    assert limit - 5000 < stored <= limit
    assert limit < stored + len(records[-1]) + 1
    assert [str(number) for number in range(1, file.rejects_stored + 1)] == [row[0] for row in read_csv(path)[:-1]]
    assert 1000 == sum(file.reasons.values())


def test_a_reject_file_that_all_rejects_just_fit_into_has_no_record_about_others(tmp_path: Path) -> None:
    file = validated(b"x\n" * 9, tmp_path, max_stored_rejects=9, block_bytes=6)
    assert (9, 9) == (file.rejects_stored, len(read_csv(cast("Path", file.rejects_path))))


def test_no_reject_is_stored_behind_one_that_does_not_fit(tmp_path: Path) -> None:
    lines = [b"\x00" * 900] * 5 + [b"x"] * 50
    file = validated(b"\n".join(lines), tmp_path, max_reject_bytes=16_384, block_bytes=10)
    assert (4, 4) == (file.rejects_stored, len(file.first_rejects))
    assert {"encoding": 5, "field_count": 50} == file.reasons


def test_a_gzip_bomb_is_refused_with_the_default_limits(tmp_path: Path) -> None:
    file = validated(gzip.compress(bytes(300 * MIB), 1), tmp_path)
    assert "looks like a gzip bomb: it expands more than 200-fold" == file.refusal


def test_a_small_file_of_equal_rows_is_not_refused_as_a_gzip_bomb(tmp_path: Path) -> None:
    file = validated(gzip.compress(ROW * 100_000), tmp_path)
    assert (1, 99_999) == (file.counts.accepted, file.counts.replaced)


def zstd(content: bytes) -> bytes:
    compressed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return compressed


def test_a_zstd_bomb_is_refused_with_the_default_limits_in_little_time_and_memory(tmp_path: Path) -> None:
    frame = zstd(bytes(16 * MIB))

    def chunks() -> Iterator[bytes]:
        for _ in range(4096):
            yield frame

    file = validated(chunks(), tmp_path)
    assert "looks like a zstd bomb: it expands more than 200-fold" == file.refusal
    assert (0, None) == (file.counts.lines, file.rejects_path)


def test_a_small_file_of_equal_rows_is_not_refused_as_a_zstd_bomb(tmp_path: Path) -> None:
    file = validated(zstd(ROW * 100_000), tmp_path)
    assert (1, 99_999) == (file.counts.accepted, file.counts.replaced)


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_compressed_file_is_refused_wherever_it_is_cut_off(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = compress(b"".join(b"0000-%04d,1483906366,1\n" % number for number in range(20)))
    refusals = {validated(content[:length], tmp_path).refusal for length in range(4, len(content))}
    [refusal] = refusals
    assert str(refusal).endswith("and ends too early: the upload was cut off")


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_lost_connection_is_no_damage_of_a_compressed_file(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = compress(np.random.default_rng(1).bytes(2 * MIB))

    def chunks() -> Iterator[bytes]:
        yield content[: 3 * MIB // 2]
        raise ConnectionResetError("connection lost")

    with pytest.raises(ConnectionResetError, match="connection lost"):
        validated(chunks(), tmp_path)


def test_a_file_compressed_with_a_dictionary_is_refused_with_what_to_do(tmp_path: Path) -> None:
    header, stored_block = b"\x28\xb5\x2f\xfd\x21\x07\x05", b"\x29\x00\x00a,1,2"  # RFC 8878: of the dictionary 7
    refusal = validated(header + stored_block, tmp_path).refusal
    assert str(refusal).endswith("was compressed with a dictionary, which is not in the file; compress it without one")


@pytest.mark.parametrize("pattern", [r"\d{4}-\d{4}", ".*"])
@pytest.mark.parametrize("memory", [MIB, 256 * MIB], ids=["many partitions", "one partition"])
def test_of_rows_with_the_same_key_the_last_is_accepted(pattern: str, memory: int, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    sensors, seconds = random.integers(0, 100, 60_000), random.integers(NOON, NOON + 300, 60_000)
    keys = [(f"0000-{sensor:04d}", int(second)) for sensor, second in zip(sensors, seconds, strict=True)]
    content = "".join(f"{sensor},{second},{value}\n" for value, (sensor, second) in enumerate(keys)).encode()
    expected = {key: str(value) for value, key in enumerate(keys)}
    file = validated(content, tmp_path, sensor_id_pattern=pattern, duplicate_memory_bytes=memory, block_bytes=50_000)
    found = [tuple(row) for row in readings(file).itertuples(index=False)]
    assert sorted((*key, value) for key, value in expected.items()) == sorted(found)
    assert (len(expected), 60_000 - len(expected)) == (file.counts.accepted, file.counts.replaced)


def test_all_partitions_together_find_every_replaced_row_once(tmp_path: Path) -> None:
    keys = np.repeat(np.arange(150_000, dtype=np.int64) << TIMESTAMP_BITS, 2)
    with DuplicateFinder(tmp_path / "keys", MIB) as file:
        file.add(keys[:30_001])
        file.add(keys[30_001:])
        partitions = list(file.replaced_rows())
    assert len(partitions) > 1
    assert list(range(0, 300_000, 2)) == sorted(np.concatenate(partitions).tolist())


def test_concurrent_processes_divide_the_memory_for_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory: list[int] = []

    def duplicate_finder(path: Path, memory_bytes: int, words: int) -> DuplicateFinder:
        memory.append(memory_bytes)
        return DuplicateFinder(path, memory_bytes, words)

    monkeypatch.setattr(accepted_rows, "DuplicateFinder", duplicate_finder)
    validated(ROW, tmp_path, duplicate_memory_bytes=64 * MIB, concurrent_processes=4)
    assert [16 * MIB] == memory


def test_the_largest_and_the_smallest_keys_are_distinct_from_adjacent_keys(tmp_path: Path) -> None:
    last = 2**TIMESTAMP_BITS - 1
    content = f"9999-9999,{last},1\n9999-9999,0,2\n9999-9998,{last},3\n3289-1135,{last},4\n0000-0000,0,5\n".encode()
    file = validated(content, tmp_path, earliest=0, latest=last)
    assert (5, 0) == (file.counts.accepted, file.counts.replaced)


def test_readings_have_the_columns_that_the_table_is_written_from(tmp_path: Path) -> None:
    (batch,) = validated(ROW, tmp_path).items()
    key = {"sensor_id": {"S": "0000-0001"}, "timestamp": {"N": "1483906366"}}
    assert [key | {"value": {"N": "10.10"}}] == list(items_of(batch))
    assert tuple(key) == key_names(batch.schema)


def test_readings_can_be_read_again_and_in_another_process(tmp_path: Path) -> None:
    file = validated(ROW * 3, tmp_path, block_bytes=30)
    elsewhere = pickle.loads(pickle.dumps(file))  # noqa: S301 - pickled in this line
    assert [{"sensor_id": "0000-0001", "timestamp": NOON, "value": "10.10"}] == readings(file).to_dict("records")
    assert readings(file).equals(readings(elsewhere))


def test_progress_is_reported_in_bytes_of_the_source_up_to_its_size(tmp_path: Path) -> None:
    reported: list[int] = []
    content = ROW * 200_000
    validate_file(io.BytesIO(content), tmp_path, progress=reported.append)
    assert sorted(reported) == reported
    assert len(content) == reported[-1]
    assert len(set(reported)) > 2


def test_an_error_while_reading_the_source_is_raised(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield ROW
        raise ConnectionResetError("connection lost")

    with pytest.raises(ConnectionResetError):
        validated(chunks(), tmp_path)


def test_a_second_validation_in_the_same_workspace_replaces_the_first(tmp_path: Path) -> None:
    validated(ROW.replace(b"10.10", b"1") + b"x\n" + ROW, tmp_path, block_bytes=20, reject_limit=1)
    file = validated(ROW, tmp_path)
    assert (["10.10"], None) == (list(readings(file)["value"]), file.rejects_path)


def test_no_cell_of_the_reject_file_starts_with_a_formula(tmp_path: Path) -> None:
    starts = ["=", "+", "-", "@", "\t=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\x0b=", "\u00a0="]
    file = validated("".join(f"{start}1+1\n" for start in starts).encode(), tmp_path, reject_limit=1)
    cells = [cell for row in read_csv(cast("Path", file.rejects_path)) for cell in row]
    assert [] == [cell for cell in cells if cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))]


STARTS = ["=", "+", "-", "@", " =", '"=', '""=', ' "=', "\t=", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


def test_no_cell_starts_with_a_formula_where_semicolons_separate_cells(tmp_path: Path) -> None:
    lines = [f"0000-0001;{start}1+1;{start}A1" for start in STARTS]
    file = validated("".join(f"{line}\n" for line in lines).encode(), tmp_path, reject_limit=1)
    text = cast("Path", file.rejects_path).read_text(encoding="utf-8")
    cells = [cell for row in csv.reader(text.splitlines(), delimiter=";") for cell in row]
    pieces = [piece for line in text.splitlines() for piece in line.split(";")]  # a spreadsheet that ignores quotes
    formula = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    assert [] == [cell for cell in [*cells, *pieces] if cell.lstrip(' "').startswith(formula)]
    assert lines == [reject.text.replace("\\t", "\t") for reject in file.first_rejects] + lines[10:]


@pytest.mark.parametrize("line", ["a;-5;+5,3", "a; -0.5 ;-1", "a;5;b=c;d-e", "a;", "a;b@example.com"])
def test_numbers_after_a_semicolon_and_other_text_are_stored_as_they_are(tmp_path: Path, line: str) -> None:
    file = validated(f"{line}\n".encode(), tmp_path, reject_limit=1)
    assert [line] == [text for _, _, text in read_csv(cast("Path", file.rejects_path))]


def test_text_in_the_place_of_a_number_is_no_number(tmp_path: Path) -> None:
    file = validated(b"a;-1+2;-5x;+cmd|' /C calc'!A0;-1 -2\n", tmp_path, reject_limit=1)
    [(_, _, text)] = read_csv(cast("Path", file.rejects_path))
    assert "a;'-1+2;'-5x;'+cmd|' /C calc'!A0;'-1 -2" == text


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("block_bytes", 0),
        ("max_line_bytes", 2**30),
        ("duplicate_memory_bytes", 1000),
        ("concurrent_processes", 0),
        ("max_stored_rejects", 0),
        ("max_reject_bytes", 1000),
    ],
)
def test_an_invalid_setting_is_an_error_with_its_name(setting: str, value: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=setting):
        ValidationSettings(**{setting: value})
