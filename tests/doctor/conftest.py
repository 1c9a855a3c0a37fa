"""An environment as `sensor-ingest deploy` leaves it, in which nothing is wrong until a test breaks it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_aws.credentials import AwsCredentials

from blocks.documents import BLOCK_NAME, BLOCK_TYPES
from blocks.stack_outputs import StackOutputs
from deployments.apply import deploy_all
from deployments.aws_stack import ensure_stack
from deployments.doctor import Finding, all_checks, examine
from deployments.settings import WORK_POOL
from tests.conftest import REGION, Aws

if TYPE_CHECKING:
    from deployments.doctor.world import World

STACK = "doctor"
PARAMETERS = {"SenderAddress": "doctor@example.com", "Recipients": "ada@example.com"}


@dataclass(frozen=True)
class Patient:
    """A Prefect server and a stack that belong together."""

    aws: Aws
    outputs: StackOutputs
    prefect: SyncPrefectClient

    def finding(self, name: str, world: "World | None" = None) -> Finding:
        """What the doctor says of one thing, having looked at what that needs, and at the blocks."""
        checks, wanted = all_checks(), {name}
        for check in reversed(checks):
            if check.name in wanted or check.name.startswith("block "):
                wanted |= {check.name, *check.needs}
        found = examine(world, [check for check in checks if check.name in wanted])
        return {finding.name: finding for finding in found}[name]

    def findings(self, world: "World | None" = None) -> dict[str, Finding]:
        return {finding.name: finding for finding in examine(world)}

    @property
    def rule_name(self) -> str:
        found = self.aws.client("cloudformation").describe_stack_resource(
            StackName=STACK, LogicalResourceId="FileArrived"
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def attributes(self, url: str) -> dict[str, str]:
        answer: dict[str, str] = self.aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
            "Attributes"
        ]
        return answer

    def heartbeat(self) -> None:
        """A worker says that it is there."""
        self.prefect.request("POST", f"/work_pools/{WORK_POOL}/workers/heartbeat", json={"name": "tested"})  # type: ignore[arg-type]

    def deployment_id(self, name: str) -> Any:  # noqa: ANN401 - a UUID
        return self.prefect.read_deployment_by_name(f"{name}/{name}").id


@pytest.fixture(scope="package")
def environment(aws: Aws) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "SENSOR_INGEST_STACK": STACK,
    }


@pytest.fixture(scope="package")
def deployed(aws: Aws, prefect_server: str, environment: dict[str, str]) -> Iterator[Patient]:
    outputs = ensure_stack(aws.client("cloudformation"), STACK, PARAMETERS)
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: prefect_server}),
        get_client(sync_client=True) as client,
    ):
        for name, value in (environment | {"PREFECT_API_URL": prefect_server}).items():
            patch.setenv(name, value)
        forget_blocks(client)  # other tests save theirs under the same name
        deploy_all()
        yield Patient(aws, outputs, client)
        for automation in client.read_automations():
            client.delete_automation(automation.id)
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
        client.delete_work_pool(WORK_POOL)
        forget_blocks(client)


def forget_blocks(client: SyncPrefectClient) -> None:
    for slug in [each.get_block_type_slug() for each in BLOCK_TYPES] + [AwsCredentials.get_block_type_slug()]:
        try:
            found = client.read_block_document_by_name(BLOCK_NAME, slug)
        except ObjectNotFound:
            continue
        client.delete_block_document(found.id)


@pytest.fixture
def patient(deployed: Patient, environment: dict[str, str], prefect_server: str, monkeypatch: Any) -> Iterator[Patient]:  # noqa: ANN401 - pytest's own
    """The environment in good health; a test that breaks it mends it again."""
    assert os.environ["SENSOR_INGEST_STACK"] == environment["SENSOR_INGEST_STACK"]
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    deployed.heartbeat()
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield deployed
