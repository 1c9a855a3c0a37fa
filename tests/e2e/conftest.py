"""The whole system as a user starts it, `sensor-ingest up` on free ports, shared by the tests of this folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deployments.embedded import running_stack
from tests.support.system import System
from tests.support.waiting import eventually

NOTIFY_AFTER_SECONDS = 20


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    """Not pytest's own, whose path is long: PostgreSQL's socket is in this one."""
    with TemporaryDirectory(prefix="sensor-ingest-e2e-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="package")
def system(folder: Path) -> Iterator[System]:
    data_dir = folder / "stack"
    log = folder / "up.log"
    command = [sys.executable, "-m", "deployments.cli", "up", "--data-dir", str(data_dir)]
    command += ["--prefect-port", "0", "--aws-port", "0", "--notify-after", str(NOTIFY_AFTER_SECONDS)]
    with log.open("wb") as output:
        up = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=_without_accounts())
    try:
        eventually(lambda: _is_ready(up, log), 300, f"sensor-ingest up, whose output is in {log}")
        stack = running_stack(data_dir)
        assert stack is not None
        yield System(stack)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


def _is_ready(up: subprocess.Popen[bytes], log: Path) -> bool:
    said = log.read_text()
    assert up.poll() is None, said
    return any(line.startswith("ready") for line in said.splitlines())


def _without_accounts() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_"))}
