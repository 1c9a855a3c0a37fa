"""A stack that runs, and parts of it that are killed."""

import signal
from contextlib import suppress
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from blocks.domain.names import WORK_POOL
from deployments.embedded import EmbeddedStack, StackDescription, running_stack
from deployments.embedded.errors import DataDirBusyError
from deployments.embedded.health import answers, call
from tests.deployments.embedded.conftest import processes_of
from tests.support.waiting import eventually

PARTS = ["emulator", "postgres", "relay", "server", "worker"]
BACK_SECONDS = 60


def described(stack: EmbeddedStack) -> StackDescription:
    description = running_stack(stack.description.data_dir)
    assert description is not None
    return description


def works(stack: EmbeddedStack) -> bool:
    """Whether the Prefect server reads its database, and the bucket is there."""
    s3 = boto3.client(
        "s3",
        endpoint_url=stack.description.aws_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    try:
        call(f"{stack.description.prefect_api_url}/work_pools/filter", {})
        s3.head_bucket(Bucket=stack.outputs.bucket_name)
    except (OSError, BotoCoreError, ClientError):
        return False
    return True


def test_when_the_stack_is_entered_everything_runs(stack: EmbeddedStack, said: list[str]) -> None:
    assert PARTS == sorted(described(stack).parts)
    assert works(stack)
    assert [line for line in said if line.startswith("ready")]


def test_the_worker_waits_at_the_work_pool_for_runs(stack: EmbeddedStack) -> None:
    (worker,) = call(f"{stack.description.prefect_api_url}/work_pools/{WORK_POOL}/workers/filter", {})
    assert ("embedded", "ONLINE") == (worker["name"], worker["status"])


def test_the_ui_is_told_to_ask_the_server_that_serves_it(stack: EmbeddedStack) -> None:
    settings = call(f"{stack.description.prefect_url}/ui-settings")
    assert settings["api_url"] in {stack.description.prefect_api_url, "/api"}


def test_others_find_the_stack_by_its_directory(stack: EmbeddedStack) -> None:
    assert stack.environment() == described(stack).environment
    assert described(stack).ready


def test_nothing_listens_but_on_loopback(stack: EmbeddedStack) -> None:
    listeners = set()
    for process in processes_of(described(stack)):
        with suppress(psutil.NoSuchProcess):  # PostgreSQL starts some for a moment
            listeners |= {
                each.laddr.ip for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN
            }
    assert {"127.0.0.1"} == listeners


def test_a_second_stack_on_the_directory_is_refused_in_words(stack: EmbeddedStack) -> None:
    with pytest.raises(DataDirBusyError, match="already runs in") as refusal, EmbeddedStack(stack.description.data_dir):
        pass
    assert str(stack.description.data_dir) in str(refusal.value)
    assert works(stack)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_is_started_again(stack: EmbeddedStack, said: list[str], name: str) -> None:
    killed = described(stack).parts[name]
    del said[:]
    psutil.Process(killed.pid).send_signal(signal.SIGKILL)
    eventually(lambda: [line for line in said if line.endswith("runs again")], BACK_SECONDS, f"{name} to come back")
    assert described(stack).parts[name] != killed
    assert "was ended by SIGKILL" in said[0]
    eventually(lambda: works(stack), BACK_SECONDS, "the stack to work again")


def test_no_stack_is_found_where_none_ever_ran(tmp_path: Path) -> None:
    assert running_stack(tmp_path) is None


def test_health_is_not_taken_from_nobody() -> None:
    assert not answers("http://127.0.0.1:1/")
