"""The end of a stack: its supervisor is killed, the next one ends the orphaned processes, and that one is stopped."""

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
from deployments.embedded.processes import DATA_DIR_VARIABLE
from tests.deployments.embedded.conftest import NewDataDir, Up, processes_of, ready_stack
from tests.deployments.embedded.up import IDLE
from tests.support.waiting import eventually

END_SECONDS = 60
RUN_SECONDS = 60


@dataclass(frozen=True)
class Runs:
    """Ids of flow runs that had not ended when the supervisor was killed."""

    running: str
    """Has a process."""
    stalled: str
    """Has lost its process."""


LONG_FLOW = """
import time
from prefect import flow

@flow
def long() -> None:
    for _ in range(600):
        time.sleep(1)
"""


@dataclass(frozen=True)
class NextStack:
    """A stack that was started in the directory of a killed one."""

    data_dir: Path
    forked: bool
    """Whether its run was a child of its warm process."""
    orphans: list[psutil.Process]
    """Processes of the killed stack."""
    description: StackDescription
    process: "subprocess.Popen[bytes]"
    runs: Runs


@pytest.fixture(scope="module")
def next_stack(new_data_dir: NewDataDir, up: Up) -> NextStack:
    data_dir = new_data_dir()
    killed = up(data_dir)
    before = ready_stack(data_dir, killed)
    call(f"{before.prefect_api_url}/variables/", {"name": "kept", "value": "by PostgreSQL"})
    runs = start_runs(before.prefect_api_url, new_data_dir())
    orphans = processes_of(before)
    forked = [run for run in psutil.Process(before.parts["warm"].pid).children() if "prefect.engine" in run.cmdline()]
    killed.kill()
    killed.wait()
    process = up(data_dir)
    return NextStack(data_dir, len(forked) == 1, orphans, ready_stack(data_dir, process), process, runs)


def start_runs(api: str, folder: Path) -> Runs:
    """A run that the worker has started, and one without a process."""
    (folder / "long.py").write_text(LONG_FLOW)
    flow = call(f"{api}/flows/", {"name": "long"})["id"]
    source = {"work_pool_name": WORK_POOL, "path": str(folder), "entrypoint": "long.py:long"}
    deployment = call(f"{api}/deployments/", {"name": "long", "flow_id": flow, **source})["id"]
    stalled = call(f"{api}/deployments/{deployment}/create_flow_run", {"state": {"type": "RUNNING"}})["id"]
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    running = call(f"{api}/deployments/{deployment}/create_flow_run", {"state": due})["id"]
    eventually(lambda: state_of(api, running)["type"] == "RUNNING", RUN_SECONDS, "a run to start")
    return Runs(running, stalled)


def state_of(api: str, run: str) -> dict[str, str]:
    state: dict[str, str] = call(f"{api}/flow_runs/{run}")["state"]
    return state


def test_the_next_stack_ends_the_processes_of_a_killed_supervisor(next_stack: NextStack) -> None:
    assert [] == [process for process in next_stack.orphans if process.is_running()]


def test_a_run_is_forked_from_the_warm_process(next_stack: NextStack) -> None:
    assert next_stack.forked


def test_a_run_that_is_ended_with_its_stack_reports_that_it_crashed(next_stack: NextStack) -> None:
    state = state_of(next_stack.description.prefect_api_url, next_stack.runs.running)
    assert ("CRASHED", "Execution was aborted by a termination signal.") == (state["type"], state["message"])


def test_a_silent_run_is_crashed_by_the_next_stack(next_stack: NextStack) -> None:
    state = state_of(next_stack.description.prefect_api_url, next_stack.runs.stalled)
    assert ("CRASHED", "The stack was killed while this run had a process.") == (state["type"], state["message"])


def test_data_of_the_prefect_server_outlives_a_killed_supervisor(next_stack: NextStack) -> None:
    assert "by PostgreSQL" == call(f"{next_stack.description.prefect_api_url}/variables/name/kept")["value"]


def test_the_next_stack_uses_the_same_ports(next_stack: NextStack) -> None:
    ports = {str(next_stack.description.prefect_port), str(next_stack.description.aws_port)}
    lines = (next_stack.data_dir / "output").read_text().splitlines()
    ready = [line for line in lines if line.startswith("ready")]
    assert 2 == len([line for line in ready if all(port in line for port in ports)])


def test_sigterm_ends_all_processes_of_a_stack(next_stack: NextStack) -> None:
    processes = processes_of(next_stack.description)
    orphan = subprocess.Popen(
        IDLE,
        env={DATA_DIR_VARIABLE: str(next_stack.data_dir)},
        start_new_session=True,
    )
    next_stack.process.send_signal(signal.SIGTERM)
    assert 0 == next_stack.process.wait(END_SECONDS)
    assert -signal.SIGTERM == orphan.wait(END_SECONDS)
    assert [] == [process for process in processes if process.is_running()]
    assert running_stack(next_stack.data_dir) is None


def test_ctrl_c_during_the_start_ends_all_processes_of_a_stack(new_data_dir: NewDataDir, up: Up) -> None:
    data_dir = new_data_dir()
    process = up(data_dir)

    def server_started() -> StackDescription | None:
        description = running_stack(data_dir)
        return description if description and "server" in description.parts else None

    processes = processes_of(eventually(server_started, END_SECONDS, "the server to start"))
    process.send_signal(signal.SIGINT)
    process.wait(END_SECONDS)
    assert [] == [process for process in processes if process.is_running()]
