"""DynamoDB, here a running emulator, stores validated values as exactly the numbers in the file."""

import io
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.rows import validate_file
from flows.rows.decimals import DECIMAL
from tests.fakes.plain_rows import number_in
from tests.flows.rows.streams_and_rows import rows_of
from tests.support.feeds import sensor_settings

if TYPE_CHECKING:
    from tests.support.servers import Aws

NOON = 1483906366
LARGEST_BATCH = 25
DATA = Path(__file__).parents[2] / "data"

Stored = dict[tuple[str, int], Decimal]


@pytest.fixture(scope="module")
def table(aws: "Aws") -> Iterator["Table"]:
    client = aws.client("dynamodb")
    name = f"readings-{uuid.uuid4().hex}"
    client.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "sensor_id", "KeyType": "HASH"},
            {"AttributeName": "timestamp", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "sensor_id", "AttributeType": "S"},
            {"AttributeName": "timestamp", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield Table(client, name)
    client.delete_table(TableName=name)


class Table:
    """A table in the emulator, written and read without code of this project."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401
        self._client = client
        self._name = name

    def write(self, rows: list[tuple[str, int, str]]) -> None:
        for start in range(0, len(rows), LARGEST_BATCH):
            puts = [
                {
                    "PutRequest": {
                        "Item": {"sensor_id": {"S": sensor}, "timestamp": {"N": str(second)}, "value": {"N": value}}
                    }
                }
                for sensor, second, value in rows[start : start + LARGEST_BATCH]
            ]
            assert {} == self._client.batch_write_item(RequestItems={self._name: puts})["UnprocessedItems"]

    def read(self, sensor: str) -> Stored:
        items = self._client.query(
            TableName=self._name,
            KeyConditionExpression="sensor_id = :sensor",
            ExpressionAttributeValues={":sensor": {"S": sensor}},
            ConsistentRead=True,
        )["Items"]
        return {(sensor, int(item["timestamp"]["N"])): Decimal(item["value"]["N"]) for item in items}


def readings(content: bytes) -> list[tuple[str, int, str]]:
    with TemporaryDirectory() as workspace:
        return rows_of(validate_file(io.BytesIO(content), Path(workspace), sensor_settings(reject_limit=1)))


def test_every_form_of_decimal_is_stored_as_the_number_it_denotes(table: Table) -> None:
    content = (DATA / "values.csv").read_bytes().replace(b"0000-0001", b"0000-0007")
    written = [line.split(",") for line in content.decode().splitlines()]
    table.write(readings(content))
    expected = {(sensor, int(second)): Decimal(value) for sensor, second, value in written}
    assert expected == table.read("0000-0007")


@example(values=["0E1000000000000000000"], number=0)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.from_regex(DECIMAL, fullmatch=True), min_size=1, max_size=25), number=st.integers(0, 9999))
def test_any_decimal_is_read_from_the_table_as_the_number_in_the_file_or_is_rejected(
    table: Table, values: list[str], number: int
) -> None:
    sensor = f"1111-{number:04d}"
    accepted = readings("".join(f"{sensor},{NOON + index},{value}\n" for index, value in enumerate(values)).encode())
    table.write(accepted)
    found = table.read(sensor)
    seconds = [second for _, second, _ in accepted]
    assert {second: number_in(values[second - NOON]) for second in seconds} == {
        second: found[sensor, second] for second in seconds
    }
