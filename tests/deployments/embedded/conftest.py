"""One embedded stack that all tests of this folder share, and processes that run stacks of their own."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from blocks.domain.names import WORK_POOL
from deployments.embedded import EmbeddedStack, StackDescription, running_stack
from deployments.embedded.processes import find_process, other_processes
from deployments.embedded.services.prefect import ask
from tests.deployments.embedded.up import IDLE
from tests.support.waiting import eventually

PROJECT = Path(__file__).parents[3]
START_SECONDS = 300

NewDataDir = Callable[[], Path]
Up = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture(scope="package")
def new_data_dir() -> Iterator[NewDataDir]:
    """Creates data directories with short paths: PostgreSQL's socket is in one."""
    created: list[Path] = []

    def create() -> Path:
        created.append(Path(tempfile.mkdtemp(prefix="sensor-ingest-test-")))
        return created[-1]

    yield create
    for folder in created:
        shutil.rmtree(folder)


@pytest.fixture(scope="package")
def log_lines() -> list[str]:
    """The lines that the shared stack has logged."""
    return []


@pytest.fixture(scope="package")
def stack(new_data_dir: NewDataDir, log_lines: list[str]) -> Iterator[EmbeddedStack]:
    data_dir = new_data_dir() / "data"
    data_dir.mkdir()
    data_dir.chmod(0o755)  # as an older version may have made it
    with EmbeddedStack(data_dir, relay_command=IDLE, log=log_lines.append) as stack:
        yield stack


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """Starts a process that runs a stack in a directory, and returns at once; the teardown kills all of them."""
    started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(data_dir: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(Path(__file__).with_name("up.py")), str(data_dir)]
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        process = subprocess.Popen(command, env=environment, stdout=(data_dir / "output").open("ab"))
        started.append((process, data_dir))
        return process

    yield start
    for process, data_dir in started:
        process.kill()
        process.wait()
        for orphan in other_processes(data_dir, []):
            orphan.kill()


def ready_stack(data_dir: Path, process: "subprocess.Popen[bytes]") -> StackDescription:
    """The stack that the process runs, once it is ready."""

    def ready() -> StackDescription | None:
        assert process.poll() is None, (data_dir / "output").read_text()
        description = running_stack(data_dir)
        ours = description and description.supervisor.pid == process.pid and description.ready
        return description if ours else None

    return eventually(ready, START_SECONDS, f"the stack in {data_dir}")


def processes_of(stack: StackDescription) -> list[psutil.Process]:
    """All processes of the stack, including children of its parts."""
    parts = [find_process(part) for part in stack.parts.values()]
    return [process for part in parts if part for process in (part, *part.children(recursive=True))]


def run_command(stack: EmbeddedStack) -> list[str]:
    """The command with which the worker starts a run."""
    answer: Any = ask(stack.description, f"work_pools/{WORK_POOL}")
    return shlex.split(answer["base_job_template"]["variables"]["properties"]["command"]["default"])
