"""A stack and a Prefect server as `sensor-ingest deploy` leaves them: without problems until a test causes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.domain.names import WORK_POOL
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import ensure_stack
from deployments.doctor import CheckResult, all_checks, run_checks
from deployments.doctor.system import InspectedSystem
from deployments.server.deploy import deploy_all
from tests.support.servers import REGION, Aws, running_prefect_server, talking_to

STACK = "doctor"
PARAMETERS = {"SenderAddress": "doctor@example.com", "Recipients": "ada@example.com"}


@lru_cache
def shared_session() -> boto3.Session:
    """One session for all tests: each session reads botocore's service descriptions again."""
    return boto3.Session()


class SharedSessionSystem(InspectedSystem):
    session = property(lambda _: shared_session())


@dataclass(frozen=True)
class DeployedSystem:
    """A CloudFormation stack in the emulator, and the Prefect server that was deployed for it."""

    aws: Aws
    outputs: StackOutputs
    prefect: SyncPrefectClient

    def result_of(self, name: str, system: InspectedSystem | None = None) -> CheckResult:
        """The result of that check, after the checks that it needs."""
        return self.results_of(name, system=system)[name]

    def results_of(self, *names: str, system: InspectedSystem | None = None) -> dict[str, CheckResult]:
        """The results of these checks and of those they need.

        Bucket, tables and mail are those of the stack, unless the check of their block is named, too.
        """
        checks, wanted = all_checks(), set(names)
        for check in reversed(checks):
            if check.name in wanted:
                wanted |= set(check.needs)
        results = run_checks(system or SharedSessionSystem(), [check for check in checks if check.name in wanted])
        return {result.name: result for result in results}

    @property
    def rule_name(self) -> str:
        found = self.aws.client("cloudformation").describe_stack_resource(
            StackName=STACK, LogicalResourceId="FileArrived"
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def attributes(self, url: str) -> dict[str, str]:
        """The attributes of the queue."""
        answer: dict[str, str] = self.aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
            "Attributes"
        ]
        return answer

    def send_worker_heartbeat(self) -> None:
        self.prefect.request("POST", f"/work_pools/{WORK_POOL}/workers/heartbeat", json={"name": "tested"})  # type: ignore[arg-type]

    def deployment_id(self, name: str) -> Any:  # noqa: ANN401 - a UUID
        return self.prefect.read_deployment_by_name(f"{name}/{name}").id


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """A server apart from the shared one: tests of other folders must not see these deployments."""
    with running_prefect_server(tmp_path_factory.mktemp("prefect-of-doctor"), empty_database) as api_url:
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
def variables_set(environment: dict[str, str]) -> Iterator[None]:
    """Set these environment variables for the duration of the block: tests of other folders run in this process."""
    with pytest.MonkeyPatch.context() as patch, talking_to(environment["PREFECT_API_URL"]):
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def deployed(aws: Aws, environment: dict[str, str]) -> Iterator[DeployedSystem]:
    outputs = ensure_stack(aws.client("cloudformation"), STACK, PARAMETERS)
    with variables_set(environment):
        client = get_client(sync_client=True)
    with client:
        with variables_set(environment):
            deploy_all()
        yield DeployedSystem(aws, outputs, client)


@pytest.fixture
def deployed_system(deployed: DeployedSystem, environment: dict[str, str]) -> Iterator[DeployedSystem]:
    """The system without problems; a test that causes one repairs it."""
    deployed.send_worker_heartbeat()
    with variables_set(environment):
        yield deployed
