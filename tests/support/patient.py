"""An environment as `sensor-ingest deploy` leaves it, in which nothing is wrong until a test breaks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import boto3
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.domain.names import WORK_POOL
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import ensure_stack
from deployments.doctor import Finding, all_checks, examine
from deployments.doctor.system import World
from deployments.server.deploy import deploy_all
from tests.support.servers import REGION, Aws, running_prefect_server, talking_to

STACK = "doctor"
PARAMETERS = {"SenderAddress": "doctor@example.com", "Recipients": "ada@example.com"}


@lru_cache
def one_session() -> boto3.Session:
    """For all tests: each session reads boto3's descriptions of services anew."""
    return boto3.Session()


class OneSessionWorld(World):
    session = property(lambda _: one_session())


@dataclass(frozen=True)
class Patient:
    """A Prefect server and a stack that belong together."""

    aws: Aws
    outputs: StackOutputs
    prefect: SyncPrefectClient

    def finding(self, name: str, world: World | None = None) -> Finding:
        """What the doctor says of one thing, having looked at what that needs."""
        return self.findings(name, world=world)[name]

    def findings(self, *names: str, world: World | None = None) -> dict[str, Finding]:
        """What it says of these things, and of what they need; bucket, tables and mail are the stack's, not a block's,
        unless their block is named, too."""
        checks, wanted = all_checks(), set(names)
        for check in reversed(checks):
            if check.name in wanted:
                wanted |= set(check.needs)
        found = examine(world or OneSessionWorld(), [check for check in checks if check.name in wanted])
        return {finding.name: finding for finding in found}

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


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Not the one that all folders share: what is deployed here would be there for their tests too."""
    with running_prefect_server(tmp_path_factory.mktemp("prefect-of-doctor")) as api_url:
        yield api_url


@pytest.fixture(scope="session")
def environment(aws: Aws, own_server: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "SENSOR_INGEST_STACK": STACK,
        "PREFECT_API_URL": own_server,
    }


@contextmanager
def surroundings(environment: dict[str, str]) -> Iterator[None]:
    """These variables, and no longer than that: tests of other folders may follow in this process."""
    with pytest.MonkeyPatch.context() as patch, talking_to(environment["PREFECT_API_URL"]):
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def deployed(aws: Aws, environment: dict[str, str]) -> Iterator[Patient]:
    outputs = ensure_stack(aws.client("cloudformation"), STACK, PARAMETERS)
    with surroundings(environment):
        client = get_client(sync_client=True)
    with client:
        with surroundings(environment):
            deploy_all()
        yield Patient(aws, outputs, client)


@pytest.fixture
def patient(deployed: Patient, environment: dict[str, str]) -> Iterator[Patient]:
    """The environment in good health; a test that breaks it mends it again."""
    deployed.heartbeat()
    with surroundings(environment):
        yield deployed
