"""The role of the runs may do what runs do, and nothing else: calls made here, beside the actions of the template."""

from typing import Any, Final

import pytest
from botocore.client import BaseClient

from blocks.domain.errors import PermissionMissingError
from blocks.domain.models import SensorFile
from blocks.readings_table import ReadingsTable
from flows import sweep as sweeping
from flows.ingest import ingest_sensor_files
from flows.sweep import sweep
from tests.deployments.aws.test_stack import statements
from tests.flows.recovery.slots import Announced, SetSlots
from tests.support.world import World

ACTIONS: Final = {
    # Source: "Required permissions for Amazon S3 API operations", Amazon S3 user guide.
    "HeadObject": {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"},
    "GetObject": {"s3:GetObject", "s3:GetObjectVersion"},
    "CopyObject": {
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectTagging",
        "s3:GetObjectVersionTagging",
        "s3:PutObject",
        "s3:PutObjectTagging",
    },
    "PutObject": {"s3:PutObject"},
    "DeleteObject": {"s3:DeleteObject"},
    "ListObjectsV2": {"s3:ListBucket"},
    "PutItem": {"dynamodb:PutItem"},
    "BatchGetItem": {"dynamodb:BatchGetItem"},
    # Source: "DynamoDB transactions and IAM", Amazon DynamoDB developer guide: those of the writes in it.
    "TransactWriteItems": {"dynamodb:PutItem"},
    "Query": {"dynamodb:Query"},
    "BatchWriteItem": {"dynamodb:BatchWriteItem"},
    "SendEmail": {"ses:SendEmail", "ses:SendRawEmail"},
}

ONLY_FOR_LARGE_FILES: Final = {"s3:AbortMultipartUpload"}
"""What copying in parts needs when it is cut off: a file of over 5 GB is none for a test."""


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of all operations that runs ask AWS for, whichever client they use."""
    seen: set[str] = set()
    call = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001 - what all operations of all clients go through

    def note(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - botocore's own
        seen.add(operation)
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)
    write = ReadingsTable.write

    def note_and_write(table: ReadingsTable, *taken: Any, **named: Any) -> int:  # noqa: ANN401 - as `write`
        seen.add("BatchWriteItem")  # signed and sent over aiohttp
        return write(table, *taken, **named)

    monkeypatch.setattr(ReadingsTable, "write", note_and_write)
    return seen


def test_runs_use_all_that_their_role_allows_and_no_more(
    world: World, operations: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"0020-0001,{1483906366 + n},1\n" for n in range(20))
    files = [
        world.put(rows + "0020-0001,soon,1\n", "incoming/role/partly.csv"),
        world.put("nonsense\n", "incoming/role/refused.csv"),
        f"s3://{world.outputs.bucket_name}/incoming/role/never.csv",
    ]
    operations.clear()  # those of this test itself
    ingest_sensor_files([SensorFile.model_validate(file) for file in files], 0, return_state=True)
    ingest_sensor_files([SensorFile.model_validate(files[0])], 0, force=True, return_state=True)
    with monkeypatch.context() as patch:
        patch.setattr(ReadingsTable, "write", _refuse)
        failing = SensorFile.model_validate(world.put(rows, "incoming/role/failing.csv"))
        ingest_sensor_files([failing], 0, return_state=True)
    monkeypatch.setattr(sweeping, "DeploymentSlots", SetSlots)  # there is no deployment to ask for its slots
    monkeypatch.setattr(sweeping, "announce", Announced())
    sweep(3600)
    used = set[str]().union(*(ACTIONS[operation] for operation in operations))
    allowed = {
        action
        for statement in statements(world.aws, world.outputs.run_role_arn).values()
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert used == allowed - ONLY_FOR_LARGE_FILES


def _refuse(*_: object, **__: object) -> int:
    raise PermissionMissingError("dynamodb:BatchWriteItem", "table", "sensor-readings-table/sensor-ingest")
