"""The ends of a stack: its supervisor is killed, another one takes over, and that one is stopped."""

import signal
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from blocks.domain.names import WORK_POOL
from deployments.embedded import StackDescription, running_stack
from deployments.embedded.health import call
from deployments.embedded.processes import MARK
from tests.deployments.embedded.conftest import NewDataDir, Up, processes_of, ready_stack
from tests.deployments.embedded.up import IDLE
from tests.support.waiting import eventually

END_SECONDS = 60
RUN_SECONDS = 60


@dataclass(frozen=True)
class Runs:
    """Ids of flow runs that were under way when the supervisor was killed."""

    begun: str
    lost: str


LONG_FLOW = """
import time
from prefect import flow

@flow
def long() -> None:
    for _ in range(600):
        time.sleep(1)
"""


@dataclass(frozen=True)
class TakenOver:
    """A stack whose supervisor was killed, and the one that was started on its directory then."""

    data_dir: Path
    left: list[psutil.Process]
    now: StackDescription
    process: "subprocess.Popen[bytes]"
    runs: Runs


@pytest.fixture(scope="module")
def taken_over(new_data_dir: NewDataDir, up: Up) -> TakenOver:
    data_dir = new_data_dir()
    killed = up(data_dir)
    before = ready_stack(data_dir, killed)
    call(f"{before.prefect_api_url}/variables/", {"name": "kept", "value": "by PostgreSQL"})
    runs = start_runs(before.prefect_api_url, new_data_dir())
    left = processes_of(before)
    killed.kill()
    killed.wait()
    process = up(data_dir)
    return TakenOver(data_dir, left, ready_stack(data_dir, process), process, runs)


def start_runs(api: str, folder: Path) -> Runs:
    """A run that its worker has begun, and one that has lost its process."""
    (folder / "long.py").write_text(LONG_FLOW)
    flow = call(f"{api}/flows/", {"name": "long"})["id"]
    where = {"work_pool_name": WORK_POOL, "path": str(folder), "entrypoint": "long.py:long"}
    deployment = call(f"{api}/deployments/", {"name": "long", "flow_id": flow, **where})["id"]
    lost = call(f"{api}/deployments/{deployment}/create_flow_run", {"state": {"type": "RUNNING"}})["id"]
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    begun = call(f"{api}/deployments/{deployment}/create_flow_run", {"state": due})["id"]
    eventually(lambda: state_of(api, begun)["type"] == "RUNNING", RUN_SECONDS, "a run to begin")
    return Runs(begun, lost)


def state_of(api: str, run: str) -> dict[str, str]:
    state: dict[str, str] = call(f"{api}/flow_runs/{run}")["state"]
    return state


def test_the_next_stack_ends_what_a_killed_supervisor_left(taken_over: TakenOver) -> None:
    assert [] == [process for process in taken_over.left if process.is_running()]


def test_a_run_that_is_ended_with_a_stack_has_reported_that(taken_over: TakenOver) -> None:
    state = state_of(taken_over.now.prefect_api_url, taken_over.runs.begun)
    assert ("CRASHED", "Execution was aborted by a termination signal.") == (state["type"], state["message"])


def test_a_run_that_could_report_nothing_is_not_running_for_ever(taken_over: TakenOver) -> None:
    state = state_of(taken_over.now.prefect_api_url, taken_over.runs.lost)
    assert ("CRASHED", "The stack was killed while this run had a process.") == (state["type"], state["message"])


def test_what_the_server_knew_outlives_a_killed_supervisor(taken_over: TakenOver) -> None:
    assert "by PostgreSQL" == call(f"{taken_over.now.prefect_api_url}/variables/name/kept")["value"]


def test_the_next_stack_has_the_ports_of_the_last_one(taken_over: TakenOver) -> None:
    ports = {str(taken_over.now.prefect_port), str(taken_over.now.aws_port)}
    lines = (taken_over.data_dir / "said").read_text().splitlines()
    ready = [line for line in lines if line.startswith("ready")]
    assert 2 == len([line for line in ready if all(port in line for port in ports)])


def test_a_stack_that_is_told_to_end_leaves_nothing_running(taken_over: TakenOver) -> None:
    processes = processes_of(taken_over.now)
    orphan = subprocess.Popen(
        IDLE,
        env={MARK: str(taken_over.data_dir)},
        start_new_session=True,
    )
    taken_over.process.send_signal(signal.SIGTERM)
    assert 0 == taken_over.process.wait(END_SECONDS)
    assert -signal.SIGTERM == orphan.wait(END_SECONDS)
    assert [] == [process for process in processes if process.is_running()]
    assert running_stack(taken_over.data_dir) is None


def test_ctrl_c_while_the_parts_are_starting_leaves_nothing_running(new_data_dir: NewDataDir, up: Up) -> None:
    data_dir = new_data_dir()
    process = up(data_dir)

    def server_was_started() -> StackDescription | None:
        description = running_stack(data_dir)
        return description if description and "server" in description.parts else None

    processes = processes_of(eventually(server_was_started, END_SECONDS, "the server to be started"))
    process.send_signal(signal.SIGINT)
    process.wait(END_SECONDS)
    assert [] == [process for process in processes if process.is_running()]
