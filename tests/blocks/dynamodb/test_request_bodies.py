"""Bodies are what boto3 would send: each row once, as it is, at most 25 to a body, no sensor for long."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.dynamodb import request_bodies
from blocks.dynamodb.attributes import attribute, items_of
from blocks.dynamodb.request_bodies import ITEMS_PER_BATCH, REQUEST_BYTES, request_bodies_of
from tests.blocks.dynamodb.conftest import SCHEMA, contents, rows

Key = tuple[str, int]


def batches_of(*frames: pa.RecordBatch) -> list[list[tuple[Key, str]]]:
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
    row = pa.RecordBatch.from_pylist(
        [{"sensor_id": "0000-0001", "timestamp": 1_483_906_366, "value": "10.10"}], schema=SCHEMA
    )
    [[body]] = request_bodies_of([row], "readings")
    item = {"sensor_id": {"S": "0000-0001"}, "timestamp": {"N": "1483906366"}, "value": {"N": "10.10"}}
    assert {"RequestItems": {"readings": [{"PutRequest": {"Item": item}}]}} == json.loads(body)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), unique=True, min_size=1))
def test_a_sensor_id_of_any_characters_arrives_as_it_is(sensor_ids: list[str]) -> None:
    readings = [{"sensor_id": sensor_id, "timestamp": 7, "value": "1.50"} for sensor_id in sensor_ids]
    batch = pa.RecordBatch.from_pylist(readings, schema=SCHEMA)
    assert contents(batch) == dict(item for batch in batches_of(batch) for item in batch)


def test_a_file_sorted_by_sensor_does_not_send_one_sensor_after_the_other() -> None:
    batches = batches_of(*(rows(2_500, start=2_500 * sensor, sensor_id=f"0000-000{sensor}") for sensor in range(8)))
    sensors = [{sensor_id for (sensor_id, _), _ in batch} for batch in batches]
    # 25 of eight sensors: less than four of them in one batch takes luck of one in a million.
    assert min(len(each) for each in sensors) >= 4
    assert all(len(one | other) >= 6 for one, other in pairwise(sensors))


def test_rows_are_mixed_across_frames_too() -> None:
    batches = batches_of(*(rows(500, start=500 * part, sensor_id=f"0000-000{part}") for part in range(4)))
    assert all(len({sensor_id for (sensor_id, _), _ in batch}) > 1 for batch in batches)


def test_the_same_rows_make_the_same_bodies() -> None:
    assert batches_of(rows(1_000)) == batches_of(rows(1_000))


def test_rows_are_read_a_window_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "ROWS_PER_WINDOW", 1_000)
    read: list[int] = []

    def frames() -> Iterator[pa.RecordBatch]:
        for part in range(10):
            read.append(part)
            yield rows(400, start=400 * part)

    next(request_bodies_of(frames(), "readings"))
    assert [0, 1, 2] == read


def items_in(rows: pa.RecordBatch) -> list[dict[str, dict[str, object]]]:
    bodies = [body for block in request_bodies_of([rows], "readings") for body in block]
    puts = [put for body in bodies for put in json.loads(body)["RequestItems"]["readings"]]
    return [put["PutRequest"]["Item"] for put in puts]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
typed_values = st.one_of(
    st.tuples(st.just("S"), st.just(pa.string()), st.lists(texts, min_size=3, max_size=3)),
    st.tuples(
        st.just("N"), st.just(pa.string()), st.lists(st.sampled_from([None, "1.50", "-1E-130"]), min_size=3, max_size=3)
    ),
    st.tuples(
        st.just("N"),
        st.just(pa.int64()),
        st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    ),
    st.tuples(st.just("BOOL"), st.just(pa.bool_()), st.lists(st.none() | st.booleans(), min_size=3, max_size=3)),
)


@given(st.dictionaries(names.filter(lambda name: name != "id"), typed_values, max_size=4))
def test_an_item_of_any_attributes_is_sent_as_it_is(columns: dict[str, tuple[Any, pa.DataType, list[Any]]]) -> None:
    schema = [attribute("id", "S"), *(attribute(name, type_, of) for name, (type_, of, _) in columns.items())]
    arrays = [pa.array(["a", "b", "c"]), *(pa.array(values, of) for _, of, values in columns.values())]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(schema))
    expected = [
        {"id": {"S": key}}
        | {
            name: {type_: str(values[row]) if of == pa.int64() else values[row]}
            for name, (type_, of, values) in columns.items()
            if values[row] is not None
        }
        for row, key in enumerate("abc")
    ]
    assert expected == sorted(items_in(batch), key=lambda item: str(item["id"]["S"]))
    assert expected == list(items_of(batch))


def test_no_body_is_larger_than_a_request_may_be() -> None:
    text = '"\x01' * 200_000  # a JSON string of 1.6 MB, of 400 kB
    batch = pa.RecordBatch.from_arrays(
        [pa.array([str(number) for number in range(30)]), pa.array([text] * 30)], names=["id", "text"]
    )
    sizes = [len(body) for block in request_bodies_of([batch], "readings") for body in block]
    assert max(sizes) <= REQUEST_BYTES
    assert 30 == len(items_in(batch))
