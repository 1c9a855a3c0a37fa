"""Every row that is handed over is in the table when `write` comes back, as the number that was in the file.

`tests/blocks/dynamodb` has what a table does under pressure, which the emulator never does.
"""

from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from prefect_aws.credentials import AwsCredentials

from blocks.dynamodb.errors import RowRefusedError
from blocks.readings_table import ReadingsTable
from tests.blocks.conftest import make_table
from tests.blocks.dynamodb.conftest import SCHEMA

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(params=["fast", "boto3"])
def readings_table(
    request: pytest.FixtureRequest, dynamodb: "DynamoDBClient", credentials: AwsCredentials
) -> ReadingsTable:
    """A table of the test's own, written to in both ways."""
    name = make_table(dynamodb, "readings", ("sensor_id", "S"), ("timestamp", "N"))
    return ReadingsTable(table_name=name, credentials=credentials, sender=request.param)


def frame(*values: str, start: int = 1_483_906_366) -> pa.RecordBatch:
    """A row for each value, one second after another, in the types that the row reader hands over."""
    columns = [["0000-0001"] * len(values), range(start, start + len(values)), values]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def rows(count: int, start: int = 0) -> pa.RecordBatch:
    return frame(*(str(start + number) for number in range(count)), start=start)


def stored(client: "DynamoDBClient", table: ReadingsTable) -> dict[int, Decimal]:
    """What is in the table: the value at each second."""
    pages = client.get_paginator("scan").paginate(TableName=table.table_name, ConsistentRead=True)
    return {int(item["timestamp"]["N"]): Decimal(item["value"]["N"]) for item in pages.search("Items")}


# ---- What is in the table afterwards ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("10.1", "10.10"),
        ("0.35", "00.35"),
        ("-12.93", "-12.93"),
        ("0", "-0"),
        ("0.1", "0.1"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("0.12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678"),
        ("1E-130", "1E-130"),
        ("9.9999999999999999999999999999999999999E+125", "9.9999999999999999999999999999999999999E+125"),
    ],
)
def test_a_number_is_stored_exactly(
    readings_table: ReadingsTable, dynamodb: "DynamoDBClient", number: str, text: str
) -> None:
    assert 1 == readings_table.write([frame(text)])
    assert [Decimal(number)] == list(stored(dynamodb, readings_table).values())


def test_an_item_is_sensor_timestamp_and_value_in_the_types_of_the_table(
    readings_table: ReadingsTable, dynamodb: "DynamoDBClient"
) -> None:
    readings_table.write([frame("10.10")])
    assert [{"sensor_id": {"S": "0000-0001"}, "timestamp": {"N": "1483906366"}, "value": {"N": "10.1"}}] == (
        dynamodb.scan(TableName=readings_table.table_name)["Items"]
    )


def test_a_row_replaces_what_an_earlier_file_said_about_that_second(
    readings_table: ReadingsTable, dynamodb: "DynamoDBClient"
) -> None:
    readings_table.write([frame("1")])
    readings_table.write([frame("2")])
    assert [Decimal(2)] == list(stored(dynamodb, readings_table).values())


def test_rows_of_all_frames_are_written(readings_table: ReadingsTable, dynamodb: "DynamoDBClient") -> None:
    assert 61 == readings_table.write([rows(10), rows(0), rows(30, start=10), rows(21, start=40)])
    assert {second: Decimal(second) for second in range(61)} == stored(dynamodb, readings_table)


def test_two_rows_with_one_key_are_an_error_that_names_the_row_and_not_a_guess(readings_table: ReadingsTable) -> None:
    with pytest.raises(RowRefusedError, match=r"the row 0000-0001,0,0: .*duplicates"):
        readings_table.write([rows(1), rows(1)])


def test_a_number_that_the_table_can_not_store_is_named_and_the_rows_beside_it_are_not(
    readings_table: ReadingsTable,
) -> None:
    with pytest.raises(RowRefusedError, match="the row 0000-0001,1483906367,1E400: "):
        readings_table.write([frame("1", "1E400", "2")])
