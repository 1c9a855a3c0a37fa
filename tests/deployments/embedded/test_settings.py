"""A stack whose settings differ from the defaults: an auth string, and no warm starts."""

import sys
from base64 import b64encode
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from deployments.embedded import EmbeddedStack
from tests.deployments.embedded.conftest import NewDataDir, run_command
from tests.deployments.embedded.up import IDLE
from tests.support.system import NO_CERTIFICATES

AUTH_STRING: Final = "admin:secret"


@pytest.fixture(scope="module")
def stack(new_data_dir: NewDataDir) -> Iterator[EmbeddedStack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSOR_INGEST_AUTH_STRING", AUTH_STRING)
        patch.setenv("SENSOR_INGEST_WARM_STARTS", "false")
        with EmbeddedStack(new_data_dir(), relay_command=IDLE, log=lambda _: None) as stack:  # the worker is online
            yield stack


def test_the_prefect_server_asks_for_the_auth_string_that_all_parts_have(stack: EmbeddedStack) -> None:
    assert 401 == asked_for_flows(stack, {}).status_code
    credentials = b64encode(AUTH_STRING.encode()).decode()
    assert 200 == asked_for_flows(stack, {"Authorization": f"Basic {credentials}"}).status_code
    assert AUTH_STRING == stack.description.environment["PREFECT_API_AUTH_STRING"]


def test_without_warm_starts_the_worker_starts_an_interpreter_for_each_run(stack: EmbeddedStack) -> None:
    assert "warm" not in stack.description.parts
    assert [sys.executable, "-m", "prefect.engine"] == run_command(stack)


def asked_for_flows(stack: EmbeddedStack, headers: dict[str, str]) -> httpx.Response:
    url = f"{stack.description.prefect_api_url}/flows/filter"
    return httpx.post(url, headers=headers, json={}, verify=NO_CERTIFICATES, timeout=30)
