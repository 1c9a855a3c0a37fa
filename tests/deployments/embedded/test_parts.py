"""Pieces of the embedded stack that can be tried without a whole one."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from deployments.embedded import EmbeddedStack
from deployments.embedded.database import find_postgres
from deployments.embedded.errors import PartFailedError, PortBusyError
from deployments.embedded.parts import Part
from deployments.embedded.ports import choose_port
from deployments.embedded.processes import MARK, find_process, identify, other_processes
from tests.deployments.embedded.conftest import NewDataDir
from tests.deployments.embedded.up import IDLE

NEVER = threading.Event()
NOW = threading.Event()
NOW.set()
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'x'); signal.pause()"


def part(folder: Path, program: str, **settings: object) -> Part:
    return Part(
        name="tried",
        title="The part",
        command=[sys.executable, "-c", program],
        environment={},
        working_dir=folder,
        log=folder / "tried.log",
        **settings,  # type: ignore[arg-type]
    )


def test_a_busy_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortBusyError, match=rf"Port {port}\b.* --prefect-port"),
            EmbeddedStack(tmp_path, prefect_port=port),
        ):
            pass


def test_the_port_of_last_time_is_taken_again() -> None:
    last = choose_port(0, "a part", "--port")
    assert last == choose_port(0, "a part", "--port", last_time=last)


def test_another_port_is_taken_where_that_of_last_time_is_busy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert taken.getsockname()[1] != choose_port(0, "a part", "--port", last_time=taken.getsockname()[1])


def test_two_parts_do_not_get_one_port() -> None:
    port = choose_port(0, "a part", "--port")
    with pytest.raises(PortBusyError):
        choose_port(port, "another part", "--port", taken=port)


def test_a_part_that_ends_while_it_starts_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = part(tmp_path, "print('no such table'); raise SystemExit(3)", ready=lambda _: False).start()
    with pytest.raises(PartFailedError, match=r"ended with exit code 3 while it was starting(.|\n)*no such table"):
        process.wait_until_ready(NEVER)


def test_a_part_that_is_never_ready_is_given_up_with_its_command(tmp_path: Path) -> None:
    process = part(tmp_path, "import signal; signal.pause()", ready=lambda _: False, ready_within_seconds=0.1).start()
    with pytest.raises(PartFailedError, match=r"was not ready within 0.1 seconds(.|\n)*signal\.pause"):
        process.wait_until_ready(NEVER)
    process.kill()


def test_a_part_that_will_not_end_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    process = part(tmp_path, DEAF, ready=lambda _: (tmp_path / "deaf").exists(), stop_within_seconds=0.1).start()
    process.wait_until_ready(NEVER)
    process.stop(NEVER)
    assert -9 == process.popen.returncode


def test_a_part_that_will_not_end_is_killed_at_once_when_somebody_is_in_a_hurry(tmp_path: Path) -> None:
    process = part(tmp_path, DEAF, ready=lambda _: (tmp_path / "deaf").exists(), stop_within_seconds=600).start()
    process.wait_until_ready(NEVER)
    process.stop(NOW)
    assert -9 == process.popen.returncode


def test_a_number_that_another_process_got_is_not_taken_for_the_one_before() -> None:
    identity = identify(psutil.Process().pid)
    assert find_process(identity)
    assert not find_process(identity.model_copy(update={"created": identity.created - 60}))


def test_an_orphan_is_known_by_its_mark_and_others_are_not(tmp_path: Path) -> None:
    marked = subprocess.Popen(IDLE, env={MARK: str(tmp_path)}, start_new_session=True)
    other = subprocess.Popen(IDLE, env={MARK: f"{tmp_path}/other"}, start_new_session=True)
    try:
        assert [marked.pid] == [process.pid for process in other_processes(tmp_path, [])]
        assert [] == other_processes(tmp_path, [identify(marked.pid)])
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()


def test_postgresql_runs_where_the_path_is_too_long_for_its_socket(new_data_dir: NewDataDir) -> None:
    data_dir = new_data_dir() / ("deep " * 12) / ("deeper " * 12)
    (data_dir / "logs").mkdir(parents=True)
    postgres = find_postgres(data_dir, {}, print)
    assert postgres
    postgres.prepare()
    process = postgres.part().start()
    try:
        process.wait_until_ready(NEVER)
        assert "/tmp/" in postgres.url
    finally:
        process.stop(NEVER)
        process.part.after_stop()
    assert not postgres.socket_folder.exists()
