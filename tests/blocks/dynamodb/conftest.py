"""A server that only counts, and the table block that writes to it, over each of its two lines."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.dynamodb.attributes import attribute
from blocks.readings_table import ReadingsTable
from tests.fakes.counting_server import CountingServer, counting_server

TABLE = "readings"
SENDERS = ["fast", "boto3"]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[CountingServer]:
    with counting_server() as server:
        yield server


@pytest.fixture
def server(shared_server: CountingServer) -> CountingServer:
    """A server that takes everything, until it is told to behave otherwise."""
    shared_server.behave()
    return shared_server


def credentials_for(endpoint_url: str, config: dict[str, Any] | None = None, **parameters: Any) -> AwsCredentials:  # noqa: ANN401 - of a boto3 client
    """Made-up credentials; botocore itself does not try again, so that tests need not wait for it."""
    return AwsCredentials(
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SecretStr("made-up-secret"),
        region_name="eu-central-1",
        aws_client_parameters=AwsClientParameters(
            endpoint_url=endpoint_url, config={"retries": {"max_attempts": 0}, **(config or {})}, **parameters
        ),
    )


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> str:
    """How items are sent: whatever is true of one way is true of the other."""
    return str(request.param)


@pytest.fixture
def make_table(server: CountingServer, sender: str) -> Callable[..., ReadingsTable]:
    """Makes the block, with other settings and another client configuration than the usual ones where asked for."""

    def make(config: dict[str, Any] | None = None, **settings: Any) -> ReadingsTable:  # noqa: ANN401 - fields
        credentials = credentials_for(server.endpoint_url, config)
        return ReadingsTable(**{"table_name": TABLE, "credentials": credentials, "sender": sender, **settings})

    return make


@pytest.fixture
def table(make_table: Callable[..., ReadingsTable]) -> ReadingsTable:
    return make_table()


SCHEMA = pa.schema(
    [
        attribute("sensor_id", "S", key=True),
        attribute("timestamp", "N", pa.int64(), key=True),
        attribute("value", "N"),
    ]
)


def rows(count: int, *, start: int = 0, sensors: int = 7, sensor_id: str | None = None) -> pa.RecordBatch:
    """Rows in file order, each with a value of its own, in the types that the row reader hands over."""
    numbers = range(start, start + count)
    sensor_ids = [sensor_id or f"0000-{number % sensors:04d}" for number in numbers]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(sensor_ids, pa.string()),
            pa.array(numbers, pa.int64()),
            pa.array([f"{number}.10" for number in numbers], pa.string()),
        ],
        schema=SCHEMA,
    )


def contents(batch: pa.RecordBatch) -> dict[tuple[str, int], str]:
    """What the table holds when it holds these rows."""
    columns = (batch[name].to_pylist() for name in ("sensor_id", "timestamp", "value"))
    return {(sensor_id, timestamp): value for sensor_id, timestamp, value in zip(*columns, strict=True)}
