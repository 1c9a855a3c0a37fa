"""A running emulator of AWS and a running Prefect server, each shared by all tests of a session.

Each test that changes them makes what it needs under names of its own.
"""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from prefect.events.worker import EventsWorker
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_API_BLOCKS_REGISTER_ON_START,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL,
    temporary_settings,
)
from prefect.settings.legacy import Setting

from deployments.embedded.ports import choose_port
from tests.support.waiting import eventually

REGION = "eu-central-1"
SERVER_START_SECONDS = 180
"""Far more than an idle machine needs; with a load of 13 on two processors, 60 were not enough."""


SERVER_SETTINGS: dict[Setting, Any] = {
    PREFECT_SERVER_ANALYTICS_ENABLED: False,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.2,
    # By default each state of a task run is a transaction of its own. SQLite then refuses other writers, and a client
    # repeats what was refused after 2 s: half of the time that tests of flows took.
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE: 200,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL: 1,
    # No test needs blocks that it does not save itself, and looking for them imports Dask, for 2 s of a start.
    PREFECT_API_BLOCKS_REGISTER_ON_START: False,
    PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION: False,
}
"""Of the servers of tests, which use SQLite."""


@dataclass(frozen=True)
class Aws:
    """An emulator that runs, and made-up credentials that it takes."""

    endpoint_url: str
    session: boto3.Session

    def client(self, service: Any) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
        return self.session.client(service, endpoint_url=self.endpoint_url)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    port = free_port()
    log = tmp_path_factory.mktemp("aws") / "emulator.log"
    # 8883 would be opened on every interface, whatever BIND_HOST says.
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1"}
    settings |= {"IOT_MTLS_ENABLED": "0", "PERSIST_STATE": "0", "S3_PERSIST": "0", "TMPDIR": str(log.parent)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        endpoint_url = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(process, endpoint_url, log), 60, f"the emulator, whose log is {log}")
        yield Aws(
            endpoint_url,
            boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION),
        )
    finally:
        _end(process)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first server of a run of pytest leaves its database for the others, whichever worker starts them."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "empty.db"


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """The API address of a Prefect server; nothing talks to it unless it is told to."""
    with running_prefect_server(tmp_path_factory.mktemp("prefect"), empty_database) as api_url:
        yield api_url


@contextmanager
def running_prefect_server(
    home: Path, empty_database: Path, more_settings: Mapping[Setting, Any] | None = None
) -> Iterator[str]:
    """The API address of a server of its own, with its database in that folder."""
    settings = SERVER_SETTINGS | {
        PREFECT_HOME: home,
        PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{home}/prefect.db",
    }
    server = SubprocessASGIServer(port=free_port())
    with temporary_settings(settings | dict(more_settings or {})), prepared(home / "prefect.db", empty_database):
        server.start(timeout=SERVER_START_SECONDS)
    try:
        yield server.api_url
    finally:
        server.stop()


@contextmanager
def prepared(database: Path, empty_database: Path) -> Iterator[None]:
    """The block starts a server on that database, which is a copy of another one's: 60 % of a start makes tables.

    Source: measured with Prefect 3.9.1, 12 s of CPU time with all migrations and 5 s without.
    """
    with empty_database.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not empty_database.exists():
            yield
            with closing(sqlite3.connect(database)) as made, closing(sqlite3.connect(empty_database)) as copied:
                made.backup(copied)
            return
    shutil.copy(empty_database, database)
    yield


@pytest.fixture
def prefect_api(prefect_server: str) -> Iterator[str]:
    """The address of the Prefect server that the code under test talks to."""
    with talking_to(prefect_server):
        yield prefect_server


@contextmanager
def talking_to(api_url: str) -> Iterator[None]:
    """The code under test talks to that Prefect server, and so do the events it emits.

    Prefect 3.9.1 sends the events of a process, those that make task runs among them, to the server that the first
    of them went to, until its worker for events has ended.
    """
    EventsWorker.drain_all(at_exit=False)
    try:
        with temporary_settings({PREFECT_API_URL: api_url}):
            yield
    finally:
        EventsWorker.drain_all(at_exit=False)


def free_port() -> int:
    """A port that no client is given meanwhile for a connection of its own."""
    return choose_port(0, "a test's server", "")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(process: subprocess.Popen[bytes], endpoint_url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the emulator ended with {process.returncode}:\n{log.read_text()}")
    try:
        with urllib.request.urlopen(f"{endpoint_url}/_ministack/ready", timeout=1) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False
