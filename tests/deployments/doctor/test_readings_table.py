"""No rows in the table: what the doctor finds about the block and its table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, find_block
from tests.deployments.doctor.problems import assert_problem, assert_warning, repaired_by
from tests.support.deployed_system import DeployedSystem
from tests.support.servers import Aws


@contextmanager
def other_readings_table(**update: Any) -> Iterator[None]:  # noqa: ANN401 - fields of the block
    saved = find_block(ReadingsTable)
    assert saved is not None
    saved.model_copy(update=update).save(BLOCK_NAME, overwrite=True)
    with repaired_by(lambda: saved.save(BLOCK_NAME, overwrite=True)):
        yield


def test_a_block_that_names_another_table(deployed_system: DeployedSystem) -> None:
    with other_readings_table(table_name="no-such-table"):
        results = deployed_system.results_of("block sensor-readings-table contents", "readings table")
    assert_problem(
        results["block sensor-readings-table contents"], "its table is no-such-table", "sensor-ingest deploy"
    )
    assert_problem(
        results["readings table"], "the table no-such-table does not exist in eu-central-1", "sensor-ingest deploy"
    )


def test_a_block_that_leads_to_another_region(deployed_system: DeployedSystem) -> None:
    saved = find_block(ReadingsTable)
    assert saved is not None
    elsewhere = saved.credentials.model_copy(update={"region_name": "us-west-2"})
    elsewhere._block_document_id = None  # noqa: SLF001 - credentials of this block alone
    with other_readings_table(credentials=elsewhere):
        results = deployed_system.results_of("block sensor-readings-table contents", "readings table")
    assert_problem(results["block sensor-readings-table contents"], "us-west-2", "sensor-ingest deploy")
    assert_problem(results["readings table"], "in us-west-2", "region")


def test_a_table_with_other_keys_and_one_with_provisioned_capacity(deployed_system: DeployedSystem, aws: Aws) -> None:
    client = aws.client("dynamodb")
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    for name, kind in (("doctor-other-keys", "S"), ("doctor-provisioned", "N")):
        client.create_table(
            TableName=name,
            ProvisionedThroughput=throughput,
            AttributeDefinitions=[
                {"AttributeName": "sensor_id", "AttributeType": "S"},
                {"AttributeName": "timestamp", "AttributeType": kind},
            ],
            KeySchema=[
                {"AttributeName": "sensor_id", "KeyType": "HASH"},
                {"AttributeName": "timestamp", "KeyType": "RANGE"},
            ],
        )
    with other_readings_table(table_name="doctor-other-keys"):
        other_keys = deployed_system.results_of("block sensor-readings-table", "readings table")["readings table"]
    with other_readings_table(table_name="doctor-provisioned"):
        provisioned = deployed_system.results_of("block sensor-readings-table", "readings table")["readings table"]
    assert_problem(other_keys, "timestamp (S, RANGE), not sensor_id (S, HASH), timestamp (N, RANGE)", "stack.yaml")
    assert_warning(provisioned, "PROVISIONED", "--billing-mode PAY_PER_REQUEST")
