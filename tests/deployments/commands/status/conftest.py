"""A stack of its own in the emulator, its ledger, and the deployed server that the doctor's tests ask too."""

from collections.abc import Iterator

import pytest
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.file_ledger import FileLedger
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import ensure_stack
from deployments.commands.status.ledger import LedgerReader
from deployments.commands.status.look import System
from tests.blocks.ledger_entries import with_moved_clock
from tests.support.deployed_system import PARAMETERS, DeployedSystem
from tests.support.servers import REGION, Aws

STACK = "status"


@pytest.fixture(scope="session")
def outputs(aws: Aws) -> StackOutputs:
    return ensure_stack(aws.client("cloudformation"), STACK, PARAMETERS)


@pytest.fixture
def ledger(aws: Aws, outputs: StackOutputs) -> Iterator[FileLedger]:
    """The ledger's block on the table of that stack, which is empty before and after."""
    credentials = AwsCredentials(
        aws_access_key_id="test",
        aws_secret_access_key=SecretStr("test"),
        region_name=REGION,
        aws_client_parameters=AwsClientParameters(endpoint_url=aws.endpoint_url),
    )
    yield with_moved_clock(FileLedger(table_name=outputs.files_table_name, credentials=credentials))
    client, table = aws.client("dynamodb"), outputs.files_table_name
    for item in client.scan(TableName=table)["Items"]:
        client.delete_item(TableName=table, Key={name: item[name] for name in ("file", "version")})


@pytest.fixture
def reader(aws: Aws, outputs: StackOutputs) -> LedgerReader:
    return LedgerReader(aws.client("dynamodb"), outputs.files_table_name)


@pytest.fixture
def system(deployed_system: DeployedSystem, outputs: StackOutputs, monkeypatch: pytest.MonkeyPatch) -> System:
    """The deployed server, and that stack."""
    assert deployed_system.outputs.bucket_name != outputs.bucket_name
    monkeypatch.setenv("SENSOR_INGEST_STACK", STACK)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    return System()
