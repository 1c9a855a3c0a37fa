"""A Prefect server with an auth string: deploying to it, and a file from its event to its task runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)

from blocks.domain.errors import ApiRefusedError
from blocks.domain.models import SensorFile
from blocks.domain.names import WORK_POOL
from blocks.saved_blocks import BLOCK_NAME, BLOCK_TYPES, load_ledger
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import ensure_stack
from deployments.doctor import all_checks, run_checks
from deployments.relay.relay import Relay
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.stop_signal import StopSignal
from deployments.server.crash_automation import AUTOMATION
from deployments.server.deploy import deploy_all
from flows.events.file_arrivals import announce
from flows.recovery.run_slots import DeploymentSlots
from tests.support.servers import REGION, Aws, running_prefect_server, talking_to
from tests.support.waiting import eventually

STACK = "auth"
AUTH_STRING = "admin:let me in"

WITHOUT_AUTH_STRING = pytest.mark.parametrize(
    ("auth_string", "mistake"),
    [(None, "PREFECT_API_AUTH_STRING is not set"), ("admin:guessed", "PREFECT_API_AUTH_STRING is another than")],
    ids=["missing", "wrong"],
)


@pytest.fixture(scope="module")
def outputs(aws: Aws) -> StackOutputs:
    parameters = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com"}
    return ensure_stack(aws.client("cloudformation"), STACK, parameters)


@pytest.fixture(scope="module")
def api_url(aws: Aws, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """The address of the server, which this process and its children find in the environment variables."""
    home = tmp_path_factory.mktemp("prefect-with-auth")
    with (
        running_prefect_server(home, empty_database, {PREFECT_SERVER_API_AUTH_STRING: AUTH_STRING}) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "SENSOR_INGEST_STACK": STACK,
            "PREFECT_API_URL": url,
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield url


@contextmanager
def credentials(api_url: str, auth_string: str | None) -> Iterator[None]:
    """The settings of a shell that exports the auth string; with None it exports none."""
    settings = {PREFECT_API_AUTH_STRING: auth_string, PREFECT_CLIENT_MAX_RETRIES: 0}
    with pytest.MonkeyPatch.context() as patch, talking_to(api_url), temporary_settings(settings):
        if auth_string:
            patch.setenv("PREFECT_API_AUTH_STRING", auth_string)
        yield


@pytest.fixture
def admin(deployed: str) -> Iterator[SyncPrefectClient]:
    with credentials(deployed, AUTH_STRING), get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def deployed(api_url: str, outputs: StackOutputs) -> str:
    """The address of the server, after `sensor-ingest deploy` with its auth string."""
    assert outputs.bucket_name
    with credentials(api_url, AUTH_STRING):
        deploy_all()
    return api_url


def test_deploying_with_the_auth_string_creates_deployments_automations_and_blocks(admin: SyncPrefectClient) -> None:
    deployments = [each.name for each in admin.read_deployments()]
    automations = [each.name for each in admin.read_automations()]
    assert sorted(deployments) == ["ingest-sensor-files", "notify", "sweep"]
    assert sorted(automations) == sorted(
        ["sensor files arrived", "sensor-ingest: resume notify-after-600s", AUTOMATION]
    )
    for block_type in BLOCK_TYPES:
        assert admin.read_block_document_by_name(BLOCK_NAME, block_type.get_block_type_slug()).data


@WITHOUT_AUTH_STRING
def test_deploying_and_relaying_without_the_auth_string_fail_with_the_setting_to_change(
    api_url: str, aws: Aws, outputs: StackOutputs, auth_string: str | None, mistake: str
) -> None:
    queue = SqsQueue(aws.client("sqs"), outputs.queue_url)
    relay = Relay(queue, outputs.incoming_prefix, DeploymentSlots(), load_ledger)
    with StopSignal() as stop:
        calls = (deploy_all, lambda: relay.relay_once(stop))
    for call in calls:
        with credentials(api_url, auth_string), pytest.raises(ApiRefusedError) as caught:
            call()
        assert mistake in str(caught.value)
        assert "Set it to what the server has as PREFECT_SERVER_API_AUTH_STRING" in str(caught.value)
        assert "guessed" not in str(caught.value)


@WITHOUT_AUTH_STRING
def test_the_doctor_reports_a_missing_or_wrong_auth_string(api_url: str, auth_string: str | None, mistake: str) -> None:
    [check] = [each for each in all_checks() if each.name == "prefect api"]
    with credentials(api_url, auth_string):
        [result] = run_checks(checks=[check])
    assert "problem" == result.level
    assert mistake in result.seen
    assert "PREFECT_SERVER_API_AUTH_STRING" in result.remedy


@pytest.mark.parametrize("auth_string", [None, "admin:guessed"], ids=["missing", "wrong"])
def test_announcing_a_file_to_a_server_that_refuses_the_event_fails(api_url: str, auth_string: str | None) -> None:
    file = SensorFile(bucket="somewhere", key="incoming/refused.csv")
    with credentials(api_url, auth_string), pytest.raises(Exception, match="401 Unauthorized"):
        announce([file], "incoming/")


def test_a_worker_loads_an_announced_file_and_the_server_lists_its_task_runs(
    admin: SyncPrefectClient, aws: Aws, outputs: StackOutputs
) -> None:
    file = SensorFile(bucket=outputs.bucket_name, key=f"{outputs.incoming_prefix}with-auth.csv")
    aws.client("s3").put_object(Bucket=file.bucket, Key=file.key, Body=b"0000-0001,1483906366,10.10\n")
    assert DeploymentSlots().free() > 0
    announce([file], outputs.incoming_prefix)
    eventually(admin.read_flow_runs, 60, "the automation to start a run")

    worker = ("-m", "prefect", "worker", "start", "--run-once", "--pool", WORK_POOL, "--type", "process")
    worked = subprocess.run(
        [sys.executable, *worker, "--install-policy", "never"],
        env=dict(os.environ),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )

    [run] = [each for each in admin.read_flow_runs() if each.name == file.name]
    assert "Completed" == run.state_name, worked.stdout
    # The server creates task runs from events, which the run's process sends.
    expected = {f"{step} with-auth.csv" for step in ("claim", "validate", "write", "archive")}
    eventually(
        lambda: expected <= finished_tasks(admin, run), 60, f"the task runs; output of the worker: {worked.stdout}"
    )


def finished_tasks(client: SyncPrefectClient, run: FlowRun) -> set[str]:
    of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
    return {each.name for each in client.read_task_runs(task_run_filter=of_run) if each.state_name == "Completed"}
