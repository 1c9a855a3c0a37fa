"""Bodies are what boto3 would send: each row once, as it is, at most 25 to a body, no sensor for long."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.dynamodb import request_bodies
from blocks.dynamodb.request_bodies import ITEMS_PER_BATCH, request_bodies_of
from tests.blocks.dynamodb.conftest import contents, rows

Key = tuple[str, int]


def batches_of(*frames: pd.DataFrame) -> list[list[tuple[Key, str]]]:
    """Key and value of each item, batch by batch."""
    batches = []
    for body in (body for block in request_bodies_of(frames, "readings") for body in block):
        puts = json.loads(body)["RequestItems"].pop("readings")
        items = [put["PutRequest"]["Item"] for put in puts]
        batches.append([((item["sensor_id"]["S"], int(item["timestamp"]["N"])), item["value"]["N"]) for item in items])
    return batches


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 10_001])
def test_each_row_is_in_one_body_and_no_body_has_more_than_25(count: int) -> None:
    batches = batches_of(rows(count))
    assert contents(rows(count)) == dict(item for batch in batches for item in batch)
    assert count == sum(len(batch) for batch in batches)
    assert all(len(batch) == ITEMS_PER_BATCH for batch in batches[:-1])


def test_a_body_is_what_the_api_takes() -> None:
    frame = pd.DataFrame({"sensor_id": ["0000-0001"], "timestamp": [1_483_906_366], "value": ["10.10"]})
    [[body]] = request_bodies_of([frame], "readings")
    item = {"sensor_id": {"S": "0000-0001"}, "timestamp": {"N": "1483906366"}, "value": {"N": "10.10"}}
    assert {"RequestItems": {"readings": [{"PutRequest": {"Item": item}}]}} == json.loads(body)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), unique=True, min_size=1))
def test_a_sensor_id_of_any_characters_arrives_as_it_is(sensor_ids: list[str]) -> None:
    frame = pd.DataFrame({"sensor_id": pd.array(sensor_ids, dtype="string[pyarrow]"), "timestamp": 7, "value": "1.50"})
    assert contents(frame) == dict(item for batch in batches_of(frame) for item in batch)


def test_a_file_sorted_by_sensor_does_not_send_one_sensor_after_the_other() -> None:
    by_sensor = pd.concat(
        [rows(2_500, start=2_500 * sensor).assign(sensor_id=f"0000-000{sensor}") for sensor in range(8)]
    )
    batches = batches_of(by_sensor)
    sensors = [{sensor_id for (sensor_id, _), _ in batch} for batch in batches]
    # 25 of eight sensors: less than four of them in one batch takes luck of one in a million.
    assert min(len(each) for each in sensors) >= 4
    assert all(len(one | other) >= 6 for one, other in pairwise(sensors))


def test_rows_are_mixed_across_frames_too() -> None:
    batches = batches_of(*(rows(500, start=500 * part).assign(sensor_id=f"0000-000{part}") for part in range(4)))
    assert all(len({sensor_id for (sensor_id, _), _ in batch}) > 1 for batch in batches)


def test_the_same_rows_make_the_same_bodies() -> None:
    assert batches_of(rows(1_000)) == batches_of(rows(1_000))


def test_rows_are_read_a_window_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "ROWS_PER_WINDOW", 1_000)
    read: list[int] = []

    def frames() -> Iterator[pd.DataFrame]:
        for part in range(10):
            read.append(part)
            yield rows(400, start=400 * part)

    next(request_bodies_of(frames(), "readings"))
    assert [0, 1, 2] == read
