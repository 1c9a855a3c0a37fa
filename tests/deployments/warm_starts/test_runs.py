"""Runs that a warm process has forked: how they end, and what their launchers and signals do."""

import signal
import sys
from typing import Final

import psutil
import pytest

from tests.deployments.warm_starts.conftest import SECONDS, Project, children, ended
from tests.support.waiting import eventually

WAITS: Final = "import signal; open('pid', 'w').write(str(os.getpid())); signal.pause()"
"""A run that says its number and waits for a signal."""


def test_a_run_is_a_child_of_the_warm_process(project: Project) -> None:
    warm = project.warm("engine")
    assert f"{warm.pid}\n" == project.run("print(os.getppid())")
    assert (1, 0) == (project.status.forked, project.status.running)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(1)", 1),
        ("raise SystemExit(130)", 130),
        ("raise SystemExit('a text')", 1),
        ("raise ValueError", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os._exit(7)", 7),
    ],
)
def test_the_launcher_ends_as_the_run_ends(shared: Project, program: str, code: int) -> None:
    before = shared.status.forked
    assert code == shared.launch(program).wait(SECONDS)
    assert before + 1 == shared.status.forked


def test_a_new_interpreter_ends_in_the_same_ways(project: Project) -> None:
    """The table above is what Python does, not what we think that it does."""
    for program, code in [("raise KeyboardInterrupt", -signal.SIGINT), ("raise SystemExit('a text')", 1)]:
        assert code == project.launch(program).wait(SECONDS)


def test_output_and_errors_go_to_the_descriptors_of_the_launcher(shared: Project) -> None:
    printed = shared.run("import sys; print('out'); print('err', file=sys.stderr); os.system('echo of a child')")
    assert {"out", "err", "of a child"} == set(printed.splitlines())
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        shared.run("1 / 0")
    assert "out" not in shared.log


def test_the_run_reads_the_standard_input_of_the_launcher(shared: Project) -> None:
    (shared.folder / "input").write_text("typed")
    with (shared.folder / "input").open() as file:
        assert "typed\n" == shared.run("import sys; print(sys.stdin.read())", stdin=file)


def test_threads_are_waited_for_and_exit_functions_are_called(shared: Project) -> None:
    program = """
import atexit, threading
atexit.register(print, 'exit function')
go_on = threading.Event()
threading.Thread(target=lambda: (go_on.wait(), print('thread'))).start()
threading.Timer(0.1, go_on.set).start()
print('main', end=' ')
"""
    assert "main thread\nexit function\n" == shared.run(program)


def test_output_that_cannot_be_written_is_noticed_as_by_an_interpreter(shared: Project) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        assert 120 == shared.launch("print('lost')", stdout=full).wait(SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_to_the_launcher_reach_the_run(project: Project, number: signal.Signals) -> None:
    project.warm("engine")
    handled = f"import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(40)); {WAITS}"
    launcher = project.launch(handled)
    project.written("pid")
    launcher.send_signal(number)
    assert 40 == launcher.wait(SECONDS)


def test_a_run_without_a_handler_is_ended_by_the_signal_and_so_is_its_launcher(project: Project) -> None:
    project.warm("engine")
    launcher = project.launch(WAITS)
    project.written("pid")
    launcher.send_signal(signal.SIGTERM)
    assert -signal.SIGTERM == launcher.wait(SECONDS)


def test_a_killed_launcher_takes_its_run_with_it_and_no_other(project: Project) -> None:
    warm = project.warm("engine")
    launcher = project.launch(WAITS)
    run = psutil.Process(int(project.written("pid")))
    other = project.launch(WAITS.replace("'pid'", "'other'"))
    project.written("other")
    launcher.kill()
    eventually(lambda: ended(run), SECONDS, "the run to end")
    eventually(lambda: project.status.running == 1, SECONDS, "the warm process to forget it")
    assert other.poll() is None
    assert 1 == len(children(warm))


def test_a_killed_warm_process_takes_its_runs_with_it_and_the_next_run_starts_without(project: Project) -> None:
    warm = project.warm("engine")
    launcher = project.launch(WAITS)
    run = psutil.Process(int(project.written("pid")))
    warm.kill()
    assert -signal.SIGKILL == launcher.wait(SECONDS)
    eventually(lambda: ended(run), SECONDS, "the run to end")
    warm.wait()
    assert "no warm start" in project.run("print('ran')")
    assert "ran" in project.run("print('ran')")


def test_a_stopping_warm_process_waits_for_its_runs(project: Project) -> None:
    warm = project.warm("engine")
    launcher = project.launch(WAITS)
    project.written("pid")
    warm.send_signal(signal.SIGTERM)
    eventually(lambda: not project.socket.exists(), SECONDS, "the socket to go")
    assert "no warm start" in project.run("print('meanwhile')", log="run.log")
    assert warm.poll() is None
    launcher.send_signal(signal.SIGTERM)
    assert -signal.SIGTERM == launcher.wait(SECONDS)
    assert 0 == warm.wait(SECONDS)


def test_the_next_warm_process_keeps_its_socket_when_the_last_one_ends(project: Project) -> None:
    first, second = project.warm("engine"), project.warm("engine")
    first.terminate()
    assert 0 == first.wait(SECONDS)
    assert f"{second.pid}\n" == project.run("print(os.getppid())")


def test_a_run_that_signals_its_process_group_does_not_mean_others(project: Project) -> None:
    warm = project.warm("engine")
    assert -signal.SIGTERM == project.launch("os.killpg(0, 15)").wait(SECONDS)
    assert warm.poll() is None


def test_processes_of_a_run_are_started_as_by_an_interpreter(shared: Project) -> None:
    program = """
import concurrent.futures, multiprocessing, sys
for way in 'spawn', 'fork':
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(way)) as pool:
        print(pool.submit(abs, -4).result())
print(multiprocessing.spawn.get_preparation_data('x').get('init_main_from_name'))
"""
    assert ["4", "4", "engine"] == shared.run(program).split()


def test_a_hundred_runs_leave_nothing_behind(project: Project) -> None:
    warm = project.warm("engine")
    process = psutil.Process(warm.pid)
    project.run("pass")
    eventually(lambda: not process.children(), SECONDS, "the first run to be reaped")
    before = process.num_fds()
    for number in range(100):
        launcher = project.launch("raise SystemExit(3)" if number % 2 else "os.kill(os.getpid(), 9)")
        if number % 10 == 0:
            launcher.kill()
        assert launcher.wait(SECONDS) in (3, -9)
    eventually(lambda: project.status.running == 0, SECONDS, "the last run to be reaped")
    assert ([], before) == (process.children(), process.num_fds())
    assert {"engine.py", "run.log", "warm.log", "warm.sock"} == {each.name for each in project.folder.iterdir()}


def test_the_process_of_a_run_is_shown_as_what_it_runs(project: Project) -> None:
    warm = project.warm("engine", "json")
    launcher = project.launch(WAITS)
    run = psutil.Process(int(project.written("pid")))
    assert [sys.executable, "-m", "engine"] == [each for each in run.cmdline() if each]
    assert "json" == psutil.Process(warm.pid).cmdline()[-1]
    launcher.kill()


def test_runs_start_side_by_side(project: Project) -> None:
    warm = psutil.Process(project.warm("engine").pid)
    before = warm.num_fds()
    launchers = [project.launch(WAITS.replace("'pid'", f"'{number}'")) for number in range(20)]
    assert 20 == len({project.written(str(number)) for number in range(20)})
    assert 20 == project.status.running
    assert before + 20 == warm.num_fds()  # a connection each, and nothing of theirs
    for launcher in launchers:
        launcher.terminate()
    assert {-signal.SIGTERM} == {launcher.wait(SECONDS) for launcher in launchers}


def test_the_random_numbers_of_runs_differ(shared: Project) -> None:
    program = "import random, uuid, multiprocessing; print(random.random(), uuid.uuid4(), "
    program += "bytes(multiprocessing.current_process().authkey))"
    first, second = shared.run(program).split(maxsplit=2), shared.run(program).split(maxsplit=2)
    assert not set(first) & set(second)
