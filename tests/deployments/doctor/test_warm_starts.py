"""What the doctor finds about the warm process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.schemas.actions import WorkPoolUpdate

from blocks.domain.names import WORK_POOL
from tests.deployments.doctor.problems import assert_warning
from tests.support.deployed_system import DeployedSystem
from tests.support.waiting import eventually

LAUNCHER = "/opt/sensor-ingest/deployments/warm_starts/launcher.py"


@pytest.fixture
def with_launcher(deployed_system: DeployedSystem, tmp_path: Path) -> Iterator[Path]:
    """The socket that the command of the work pool names."""
    template = deployed_system.prefect.read_work_pool(WORK_POOL).base_job_template
    command = f"/opt/python -I -S {LAUNCHER} {tmp_path}/warm.sock --timeout=3"
    variables = {"type": "object", "properties": {"command": {"type": "string", "default": command}}}
    changed = {"job_configuration": {"command": "{{ command }}"}, "variables": variables}
    deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=changed))
    yield tmp_path / "warm.sock"
    deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))


@contextmanager
def warm_process(socket: Path, module: str) -> Iterator[None]:
    command = [sys.executable, "-m", "deployments.warm_starts", str(socket), module]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL) as process:
        eventually(socket.exists, 30, "the warm process")
        yield
        process.terminate()


def test_a_pool_without_a_launcher(deployed_system: DeployedSystem) -> None:
    found = deployed_system.result_of("warm starts")
    assert ("ok", "not used: each run starts an interpreter of its own") == (found.level, found.seen)


def test_a_warm_process_that_is_not_there(deployed_system: DeployedSystem, with_launcher: Path) -> None:
    found = deployed_system.result_of("warm starts")
    assert_warning(found, f"no warm process answers on {with_launcher}", "systemctl start sensor-ingest-warm")


def test_a_warm_process_that_cannot_import(deployed_system: DeployedSystem, with_launcher: Path) -> None:
    with warm_process(with_launcher, "no_such_module"):
        found = deployed_system.result_of("warm starts")
    assert_warning(found, "no_such_module cannot be imported", "docs/how-to/warm-starts.md")


def test_a_warm_process_that_forks(deployed_system: DeployedSystem, with_launcher: Path) -> None:
    with warm_process(with_launcher, "json"):
        found = deployed_system.result_of("warm starts")
    assert ("ok", "0 runs forked, 0 of them running") == (found.level, found.seen)
