"""Two relays, three workers, two sweeps and a run begun from Python at the same time, all on the same files."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import Final

import psutil

from tests.faults.dropped_files import Dropper, FileVersion, newest_of_each
from tests.faults.oracle import assert_nothing_lost_nothing_twice
from tests.faults.processes import kill_all
from tests.faults.system import FaultySystem

FILES: Final = 100
NEWER: Final = 50
BACKLOG_SECONDS: Final = 600
COMMAND_SECONDS: Final = 300

RUN_FROM_PYTHON: Final = """
import json, sys
from flows.ingest import ingest_sensor_files
ingest_sensor_files(json.loads(sys.argv[1]), notify_after_seconds=1, return_state=True)
"""


def test_several_of_each_load_every_file_once(system: FaultySystem, files: Dropper) -> None:
    chance = random.Random(7)  # noqa: S311 - the same files each time
    first = [files.new("several", chance.choice((1, 40, 400))) for _ in range(FILES)]
    dropped: list[FileVersion] = []
    with system.more(relays=1, workers=2), ExitStack() as begun:
        for number, file in enumerate(first, start=1):
            drop(file, files, dropped)
            if number % (FILES // NEWER) == 0:
                drop(chance.choice(newest_of_each(dropped)[-10:]).newer(), files, dropped)
            if number % (FILES // 4) == 0:
                start_the_scheduled_sweep(system)
                begun.enter_context(running(system, "-m", "deployments.cli", "sweep"))
                objects = [system.uri(version.key) for version in newest_of_each(dropped)[-20:]]
                begun.enter_context(running(system, "-c", RUN_FROM_PYTHON, json.dumps(objects)))
        recovery = system.recover(newest_of_each(dropped), "several of each, without a fault", BACKLOG_SECONDS)
    assert max(recovery.emailed.values()) < BACKLOG_SECONDS
    # A run in another process may be about to load what this one has just loaded; each email is sent by one of them.
    assert_nothing_lost_nothing_twice(system, dropped, mails_at_most=1)


def drop(version: FileVersion, files: Dropper, dropped: list[FileVersion]) -> None:
    files.drop(version)
    dropped.append(version)


def start_the_scheduled_sweep(system: FaultySystem) -> None:
    """A run of the deployment, as its schedule makes one."""
    deployment = system.api("deployments/name/sweep/sweep")
    system.api(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})


@contextmanager
def running(system: FaultySystem, *command: str) -> Iterator[None]:
    """The command runs beside the block, and may not fail."""
    environment = {**os.environ, **system.environment, "AWS_ENDPOINT_URL": system.proxy.url}
    with TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, *command], env=environment, stdout=output, stderr=output)
        try:
            yield
            process.wait(COMMAND_SECONDS)
        finally:
            kill_all([psutil.Process(process.pid)] if process.poll() is None else [])
            process.wait()
        output.seek(0)
        assert process.returncode == 0, output.read().decode(errors="replace")
