"""When a warm process forks nothing, and the launcher starts the run in an interpreter of its own."""

import os
import signal
import socket
import threading
import time

import pytest

from deployments.warm_starts.launcher import LENGTH
from tests.deployments.warm_starts.conftest import SECONDS, Project
from tests.support.waiting import eventually

WITH_A_THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, name='waits', daemon=True).start()\n"


def cold(project: Project, *options: str) -> str:
    """What the launcher says about a run that it starts itself."""
    line, ran = project.run("print('ran', os.getppid())", *options).splitlines()
    assert f"ran {os.getpid()}" == ran  # the launcher has become the run
    assert line.startswith("no warm start (")
    assert line.endswith("): starting python -m engine")
    return line


def test_without_a_warm_process(project: Project) -> None:
    assert "No such file or directory" in cold(project)


def test_with_the_socket_of_a_killed_one(project: Project) -> None:
    warm = project.warm("engine")
    warm.kill()
    warm.wait()
    assert project.socket.exists()
    assert "Connection refused" in cold(project)


def test_a_warm_process_that_hangs_costs_the_time_out_and_does_not_begin_the_run_later(project: Project) -> None:
    warm = project.warm("engine")
    warm.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert "timed out" in cold(project, "--timeout=0.2")
    assert time.monotonic() - began < 5
    warm.send_signal(signal.SIGCONT)
    assert 0 == project.status.forked  # it has read the request by now, as it takes them in turn
    assert f"{warm.pid}\n" == project.run("print(os.getppid())")


def test_more_than_one_thread_is_never_forked(project: Project) -> None:
    (project.folder / "threaded.py").write_text(WITH_A_THREAD)
    project.warm("engine", "threaded")
    assert "the warm process has other threads: waits" in cold(project)
    assert "the warm process has other threads: waits" == project.status.problem
    assert "declined: the warm process has other threads" in project.log


def test_changed_code_ends_the_warm_process_once_its_runs_have_ended(project: Project) -> None:
    module = project.folder / "ours.py"
    module.write_text("value = 'old'")
    warm = project.warm("engine", "ours")
    assert "old\n" == project.run("import ours; print(ours.value)")
    running = project.launch("import signal; open('pid', 'w').close(); signal.pause()")
    eventually((project.folder / "pid").exists, SECONDS, "the run")
    module.write_text("value = 'new'")
    assert f"{module} has changed" in cold(project)
    assert "new\n" in project.run("import ours; print(ours.value)")
    assert warm.poll() is None
    running.terminate()
    assert 0 == warm.wait(SECONDS)
    assert f"{module} has changed: ending" in project.log
    project.warm("engine", "ours")
    assert "new\n" == project.run("import ours; print(ours.value)")


def test_code_that_changed_while_it_was_imported_counts_as_changed(project: Project) -> None:
    module = project.folder / "ours.py"
    module.write_text("import pathlib\npathlib.Path(__file__).touch()")
    project.warm("engine", "ours")
    assert f"{module} has changed" in cold(project)


def test_a_module_that_cannot_be_imported_is_named_and_runs_start_without(project: Project) -> None:
    warm = project.warm("engine", "missing_module")
    problem = "missing_module cannot be imported: ModuleNotFoundError: No module named 'missing_module'"
    assert problem in cold(project)
    assert problem == project.status.problem
    assert "Traceback" in project.log
    assert warm.poll() is None


def test_a_launcher_that_says_nothing_holds_up_no_other(project: Project) -> None:
    warm = project.warm("engine")
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as wrong:
        silent.connect(str(project.socket))
        wrong.connect(str(project.socket))
        wrong.sendall(b"\x05\0\0\0wrong")
        assert f"{warm.pid}\n" == project.run("print(os.getppid())")
        assert b"-the warm process has another version, warm starts 1" == wrong.recv(1000)
        warm.terminate()
        assert 0 == warm.wait(SECONDS)


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_streams_need_an_interpreter(project: Project, closed: int) -> None:
    project.warm("engine")
    launcher = project.launch("open('ran', 'w').close()", preexec_fn=lambda: os.close(closed))
    assert 0 == launcher.wait(SECONDS)
    assert (project.folder / "ran").exists()
    assert 0 == project.status.forked


def test_what_is_no_warm_process_is_not_taken_for_one(project: Project) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(project.socket))
    listener.listen()

    def answer() -> None:
        connection, _ = listener.accept()
        (length,) = LENGTH.unpack(connection.recv(LENGTH.size))
        connection.recv(length, socket.MSG_WAITALL)
        connection.sendall(b"HTTP/1.1 400")
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    assert "HTTP/1.1 400" in cold(project)
    thread.join()
    listener.close()


def test_python_writes_no_bytecode_if_it_is_not_to(project: Project) -> None:
    project.warm("engine")
    project.run("import engine")
    assert [] == list(project.folder.rglob("*.pyc"))
