import io
import pickle
import time
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest
from pydantic import ValidationError

from blocks.domain.errors import IngestFailedError, ShardsDifferError, ThrottledError
from blocks.domain.models import IngestReport, RowCounts, SensorFile
from blocks.dynamodb.errors import RowRefusedError
from flows.loading.large_files import LargeFiles
from flows.loading.lease import ShardClaim
from flows.loading.shard_tasks import load_shards, shard_field
from flows.rows import ValidationSettings, validate_file
from flows.rows.sharding import Shard, shards
from tests.support.feeds import sensor_feed, sensor_settings

SENSORS = [f"{group:04d}-{number:04d}" for group in range(10) for number in range(100)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 16])
def test_each_row_is_in_one_shard_and_shards_have_about_equal_sizes(count: int) -> None:
    rows = pa.RecordBatch.from_pydict({"sensor_id": SENSORS * 3, "timestamp": range(3_000)})
    parts = [pa.Table.from_batches(shard.select([rows], "sensor_id")) for shard in shards(count)]
    assert list(range(3_000)) == sorted(timestamp for part in parts for timestamp in part["timestamp"].to_pylist())
    assert sum(len(part["sensor_id"].unique()) for part in parts) == len(SENSORS)
    assert max(map(len, parts)) < 1.3 * 3_000 / count


def test_rows_of_one_sensor_are_divided_by_another_field(tmp_path: Path) -> None:
    """As of a feed whose partition key comes from the object's key."""
    feed = sensor_feed().model_copy(update={"name": "one-sensor"})
    settings = ValidationSettings(feed=feed, key_values={"sensor_id": "0000-0001"})
    content = "".join(f"{1_483_906_366 + second},1\n" for second in range(200)).encode()
    batches = list(validate_file(io.BytesIO(content), tmp_path, settings).items())
    parts = [pa.Table.from_batches(shard.select(batches, shard_field(settings))) for shard in shards(2)]
    assert 200 == sum(map(len, parts))
    assert min(map(len, parts)) > 50


def test_a_sensor_is_in_the_same_shard_on_every_machine_and_in_every_version() -> None:
    found = [next(shard.number for shard in shards(5) if shard.contains(sensor)) for sensor in SENSORS[:5]]
    assert [4, 5, 5, 2, 5] == found  # a version may repeat the load of an earlier one, so the shards must not change


def test_a_shard_without_rows_has_no_batches() -> None:
    no_rows = pa.RecordBatch.from_pydict({"sensor_id": pa.array([], pa.string())})
    assert [] == [*Shard(1, 2).select([], "sensor_id"), *Shard(1, 1).select([no_rows], "sensor_id")]


@pytest.mark.parametrize(
    ("written_by", "rows", "uses_shards"),
    [("threads", 10**9, False), ("processes", 99, False), ("processes", 100, True), ("dask", 100, True)],
)
def test_only_large_files_are_written_in_shards(written_by: Any, rows: int, uses_shards: bool) -> None:  # noqa: ANN401, FBT001
    large_files = LargeFiles(written_by=written_by, from_rows=100, dask_scheduler="tcp://127.0.0.1:1")
    assert uses_shards is large_files.uses_shards(rows)


def test_dask_requires_the_address_of_a_scheduler() -> None:
    with pytest.raises(ValidationError, match="dask_scheduler, the address"):
        LargeFiles(written_by="dask")


class Loads:
    """Replaces the tasks of all shards; the result is the number of rows that each has written."""

    def __init__(self, *written: int, unanswered: bool = False) -> None:
        self._written = [(rows, unanswered) for rows in written]

    def map(self, *_: object) -> Self:
        return self

    def result(self) -> list[tuple[int, bool]]:
        return self._written


def test_a_load_whose_shards_have_written_too_few_rows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    file, counts = SensorFile(bucket="bucket", key="a.csv"), RowCounts(lines=400, rows=400, accepted=400)
    claim = ShardClaim("bucket", "a.csv", "claim")
    for unanswered in (False, True):
        monkeypatch.setattr("flows.loading.shard_tasks.write_shard", Loads(200, 200, unanswered=unanswered))
        assert (400, unanswered) == load_shards.fn(file, ValidationSettings(), counts, 2, claim)
    monkeypatch.setattr("flows.loading.shard_tasks.write_shard", Loads(200, 199))
    with pytest.raises(ShardsDifferError, match="399 rows written in all; expected 400 accepted"):
        load_shards.fn(file, ValidationSettings(), counts, 2, claim)


def test_a_shard_that_validates_again_later_accepts_the_same_timestamps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noon, day = 1_700_000_000, 86_400
    content = "".join(f"0000-0001,{noon + days * day},1\n" for days in (0, 1, 2)).encode()
    monkeypatch.setattr(time, "time", lambda: noon)
    first = validate_file(io.BytesIO(content), tmp_path, sensor_settings(reject_limit=1))
    monkeypatch.setattr(time, "time", lambda: noon + 7 * day)
    assert (2, 1) == (first.counts.accepted, first.counts.rejected)
    assert first.counts == validate_file(io.BytesIO(content), tmp_path, first.settings).counts


@pytest.mark.parametrize(
    "error",
    [ThrottledError("readings", 3, 300), RowRefusedError("readings", "0000-0001,1,2", "no")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_shard_is_unchanged_after_pickling(error: Exception) -> None:
    unpickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(error), str(error)) == (type(unpickled), str(unpickled))


def test_the_report_of_an_error_is_pickled_with_it() -> None:
    error = IngestFailedError("nothing loaded", IngestReport(files=[], notification=None))
    assert error.report == pickle.loads(pickle.dumps(error)).report  # noqa: S301 - our own
