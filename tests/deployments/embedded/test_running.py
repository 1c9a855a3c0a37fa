"""A running stack, and restarts of parts that are killed."""

import signal
import ssl
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

PARTS = ["emulator", "postgres", "relay", "server", "warm", "worker"]
RESTART_SECONDS = 60


def described(stack: EmbeddedStack) -> StackDescription:
    description = running_stack(stack.description.data_dir)
    assert description is not None
    return description


def test_clients_of_its_api_read_one_certificate_and_need_no_token(stack: EmbeddedStack) -> None:
    environment = psutil.Process(stack.description.parts["worker"].pid).environ()
    context = ssl.create_default_context(cafile=environment["PREFECT_API_SSL_CERT_FILE"])
    assert 1 == len(context.get_ca_certs())
    assert "false" == environment["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"]
    with pytest.raises(OSError, match="422"):  # the server has no tokens
        call(f"{stack.description.prefect_api_url}/csrf-token?client=test")


def works(stack: EmbeddedStack) -> bool:
    """Whether the Prefect server reads its database, and the bucket is there."""
    s3 = boto3.client(
        "s3",
        endpoint_url=stack.description.aws_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=stack.description.access_key,
        aws_secret_access_key=stack.description.environment["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        call(f"{stack.description.prefect_api_url}/work_pools/filter", {})
        s3.head_bucket(Bucket=stack.outputs.bucket_name)
    except (OSError, BotoCoreError, ClientError):
        return False
    return True


def test_entering_the_stack_returns_when_all_parts_run(stack: EmbeddedStack, log_lines: list[str]) -> None:
    assert PARTS == sorted(described(stack).parts)
    assert works(stack)
    assert [line for line in log_lines if line.startswith("ready")]


def test_the_worker_of_the_work_pool_is_online(stack: EmbeddedStack) -> None:
    (worker,) = call(f"{stack.description.prefect_api_url}/work_pools/{WORK_POOL}/workers/filter", {})
    assert ("embedded", "ONLINE") == (worker["name"], worker["status"])


def test_the_ui_uses_the_api_of_the_server_that_serves_it(stack: EmbeddedStack) -> None:
    settings = call(f"{stack.description.prefect_url}/ui-settings")
    assert settings["api_url"] in {stack.description.prefect_api_url, "/api"}


def test_other_processes_find_the_stack_by_its_directory(stack: EmbeddedStack) -> None:
    assert stack.description.environment == described(stack).environment
    assert described(stack).ready


def test_all_parts_listen_only_on_loopback(stack: EmbeddedStack) -> None:
    listeners = set()
    for process in processes_of(described(stack)):
        with suppress(psutil.NoSuchProcess):  # PostgreSQL starts short-lived processes
            listeners |= {
                each.laddr.ip for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN
            }
    assert {"127.0.0.1"} == listeners


def test_a_second_stack_in_the_directory_is_refused(stack: EmbeddedStack) -> None:
    with pytest.raises(DataDirBusyError, match="already runs in") as refusal, EmbeddedStack(stack.description.data_dir):
        pass
    assert str(stack.description.data_dir) in str(refusal.value)
    assert works(stack)


@pytest.mark.parametrize("name", PARTS)
def test_a_killed_part_is_restarted(stack: EmbeddedStack, log_lines: list[str], name: str) -> None:
    killed = described(stack).parts[name]
    del log_lines[:]
    psutil.Process(killed.pid).send_signal(signal.SIGKILL)
    eventually(
        lambda: [line for line in log_lines if line.endswith("runs again")], RESTART_SECONDS, f"{name} to be restarted"
    )
    assert described(stack).parts[name] != killed
    assert "was ended by SIGKILL" in log_lines[0]
    eventually(lambda: works(stack), RESTART_SECONDS, "the stack to work again")


def test_no_stack_is_found_in_an_unused_directory(tmp_path: Path) -> None:
    assert running_stack(tmp_path) is None


def test_a_health_check_without_a_server_fails() -> None:
    assert not answers("http://127.0.0.1:1/")
