"""Modules of the embedded stack that need no running stack."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from deployments.embedded import EmbeddedStack
from deployments.embedded.errors import PartFailedError, PortBusyError
from deployments.embedded.parts import Part
from deployments.embedded.ports import choose_port
from deployments.embedded.processes import DATA_DIR_VARIABLE, find_process, identify, other_processes
from tests.deployments.embedded.up import IDLE

NOT_SET = threading.Event()
SET = threading.Event()
SET.set()
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('ignoring', 'x'); signal.pause()"


def part(folder: Path, program: str, **settings: object) -> Part:
    return Part(
        name="tried",
        title="The part",
        command=[sys.executable, "-c", program],
        environment={},
        working_dir=folder,
        log_file=folder / "tried.log",
        **settings,  # type: ignore[arg-type]
    )


def test_the_error_for_a_port_in_use_names_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortBusyError, match=rf"Port {port}\b.* --prefect-port"),
            EmbeddedStack(tmp_path, prefect_port=port),
        ):
            pass


def test_the_last_port_is_used_again() -> None:
    last = choose_port(0, "a part", "--port")
    assert last == choose_port(0, "a part", "--port", last_port=last)


def test_another_port_is_used_if_the_last_one_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert taken.getsockname()[1] != choose_port(0, "a part", "--port", last_port=taken.getsockname()[1])


def test_two_parts_do_not_get_the_same_port() -> None:
    port = choose_port(0, "a part", "--port")
    with pytest.raises(PortBusyError):
        choose_port(port, "another part", "--port", reserved_port=port)


def test_the_error_for_a_part_that_ends_during_its_start_has_the_end_of_its_log(tmp_path: Path) -> None:
    process = part(tmp_path, "print('no such table'); raise SystemExit(3)", ready=lambda _: False).start()
    with pytest.raises(PartFailedError, match=r"ended with exit code 3 while it was starting(.|\n)*no such table"):
        process.wait_until_ready(NOT_SET)


def test_the_error_for_a_part_that_is_not_ready_in_time_has_its_command(tmp_path: Path) -> None:
    process = part(tmp_path, "import signal; signal.pause()", ready=lambda _: False, ready_within_seconds=0.1).start()
    with pytest.raises(PartFailedError, match=r"was not ready within 0.1 seconds(.|\n)*signal\.pause"):
        process.wait_until_ready(NOT_SET)
    process.kill()


def test_a_part_that_ignores_the_stop_signal_is_killed_after_its_time(tmp_path: Path) -> None:
    process = part(
        tmp_path, IGNORES_SIGTERM, ready=lambda _: (tmp_path / "ignoring").exists(), stop_within_seconds=0.1
    ).start()
    process.wait_until_ready(NOT_SET)
    process.stop(NOT_SET)
    assert -9 == process.popen.returncode


def test_a_part_that_ignores_the_stop_signal_is_killed_at_once_if_the_stop_is_forced(tmp_path: Path) -> None:
    process = part(
        tmp_path, IGNORES_SIGTERM, ready=lambda _: (tmp_path / "ignoring").exists(), stop_within_seconds=600
    ).start()
    process.wait_until_ready(NOT_SET)
    process.stop(SET)
    assert -9 == process.popen.returncode


def test_a_process_that_reuses_a_number_is_not_mistaken_for_the_earlier_one() -> None:
    identity = identify(psutil.Process().pid)
    assert find_process(identity)
    assert not find_process(identity.model_copy(update={"created": identity.created - 60}))


def test_an_orphaned_process_is_found_by_its_variable_and_others_are_not(tmp_path: Path) -> None:
    orphan = subprocess.Popen(IDLE, env={DATA_DIR_VARIABLE: str(tmp_path)}, start_new_session=True)
    other = subprocess.Popen(IDLE, env={DATA_DIR_VARIABLE: f"{tmp_path}/other"}, start_new_session=True)
    try:
        assert [orphan.pid] == [process.pid for process in other_processes(tmp_path, [])]
        assert [] == other_processes(tmp_path, [identify(orphan.pid)])
    finally:
        for process in (orphan, other):
            process.kill()
            process.wait()
