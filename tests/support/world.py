"""The flows in this process: a temporary Prefect server, the emulator, and blocks saved as a deployment saves them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing import utilities
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.saved_blocks import save_blocks
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import ensure_stack
from deployments.embedded.services.mailbox import Mail, mails
from tests.support.servers import REGION, SERVER_SETTINGS, SERVER_START_SECONDS, Aws, prepared

PLANTED_SECRET = "planted-Secret+0f3a9c/what-nobody-may-see"

PARAMETERS = {"SenderAddress": "sensors@example.com", "Recipients": "you@example.com"}


@dataclass(frozen=True)
class World:
    """What the flows touch, looked at from outside."""

    aws: Aws
    outputs: StackOutputs

    def put(self, content: str, key: str) -> str:
        self.aws.client("s3").put_object(Bucket=self.outputs.bucket_name, Key=key, Body=content.encode())
        return f"s3://{self.outputs.bucket_name}/{key}"

    def text_at(self, uri: str | None) -> str:
        assert uri is not None
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body.decode()

    def keys(self, ending: str) -> set[str]:
        listed = self.aws.client("s3").list_objects_v2(Bucket=self.outputs.bucket_name).get("Contents", [])
        return {item["Key"] for item in listed if item["Key"].endswith(ending)}

    def values_of(self, sensor_id: str) -> list[Decimal]:
        items = self.aws.client("dynamodb").query(
            TableName=self.outputs.readings_table_name,
            KeyConditionExpression="sensor_id = :sensor",
            ExpressionAttributeValues={":sensor": {"S": sensor_id}},
        )["Items"]
        return [Decimal(item["value"]["N"]) for item in items]

    def mails_about(self, name: str) -> list[Mail]:
        return [mail for mail in mails(self.aws.endpoint_url, "test") if name in mail.subject + mail.text]


@pytest.fixture(scope="session")
def world(aws: Aws, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[World]:
    outputs = ensure_stack(aws.client("cloudformation"), "flows", PARAMETERS)
    credentials = AwsCredentials(
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key=SecretStr(PLANTED_SECRET),
        aws_client_parameters=AwsClientParameters(endpoint_url=aws.endpoint_url),
    )
    with (
        harness(tmp_path_factory.mktemp("prefect-of-world"), empty_database),
        # Prefect 3.9.1 ends a run up to a second later where it sends heartbeats: their thread sleeps for so long.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        save_blocks(outputs, credentials)
        yield World(aws, outputs)


@contextmanager
def harness(folder: Path, empty_database: Path) -> Iterator[None]:
    """Prefect's own test harness, whose server has its database in that folder."""
    with ExitStack() as stack:
        with prepared(folder / "prefect-test.db", empty_database), pytest.MonkeyPatch.context() as patch:
            patch.setattr(utilities, "mkdtemp", lambda: str(folder))
            stack.enter_context(temporary_settings(SERVER_SETTINGS))
            stack.enter_context(utilities.prefect_test_harness(server_startup_timeout=SERVER_START_SECONDS))
        yield
