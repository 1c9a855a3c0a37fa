"""What a forked run has of its launcher, as a process that was started would have it."""

import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from deployments.warm_starts.launcher import FORWARDED, ForwardedSignals
from tests.deployments.warm_starts.conftest import LAUNCHER, SECONDS, Project
from tests.support.waiting import eventually

LOOK: Final = """
import asyncio, json, os, resource, signal, sys, threading, time
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
try:
    asyncio.get_running_loop()
    loop = True
except RuntimeError:
    loop = False
print(json.dumps({
    'environment': sorted((k.hex(), v.hex()) for k, v in os.environb.items() if k != b'RUN'),
    'argv': sys.argv, 'orig_argv': sys.orig_argv, 'path': sys.path, 'cwd': os.getcwd(), 'main': __name__,
    'file': sys.modules['__main__'].__file__, 'spec': __spec__.name,
    'umask': status['Umask'], 'blocked': status['SigBlk'], 'ignored': status['SigIgn'], 'caught': status['SigCgt'],
    'limits': [resource.getrlimit(kind) for kind in range(16)], 'nice': os.getpriority(os.PRIO_PROCESS, 0),
    'threads': threading.active_count(), 'main thread': threading.main_thread() is threading.current_thread(),
    'loop': loop, 'wakeup': signal.set_wakeup_fd(-1), 'timezone': time.tzname,
    'descriptors': sorted(int(each) for each in os.listdir('/proc/self/fd'))[:-1],
    'buffered': [sys.stdout.line_buffering, sys.stderr.line_buffering, sys.stdout.write_through],
    'handlers': [str(signal.getsignal(number)) for number in (2, 15, 17)],
}, indent=1))
"""


def look(project: Project, **settings: object) -> list[str]:
    lines = project.run(LOOK, **settings).splitlines()
    return [line for line in lines if not line.startswith("no warm start")]


def prepare() -> None:
    """What a worker could have done to itself before it starts a run."""
    os.umask(0o27)
    os.nice(3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])


def ignore_sigusr1() -> None:
    """What a warm process may have of its own parent, and its runs may not."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@pytest.mark.parametrize(("preexec", "unbuffered"), [(None, ""), (prepare, "1")])
def test_a_forked_run_finds_what_a_new_interpreter_finds(project: Project, preexec: object, unbuffered: str) -> None:
    project.environment["PYTHONUNBUFFERED"] = unbuffered
    folder = project.folder / "elsewhere"
    folder.mkdir()
    (folder / "input").touch()
    settings = {"cwd": folder, "preexec_fn": preexec, "environment": {"TZ": "Asia/Tokyo", "A": "b=c\n", "EMPTY": ""}}
    started = look(project, **settings)
    warm = {"environment": {"B": "not the launcher's"}, "preexec_fn": ignore_sigusr1}
    project.warm("engine", "asyncio", "multiprocessing", **warm)
    assert started == look(project, **settings)
    assert 1 == project.status.forked


def test_a_big_environment_and_strange_bytes_in_it_arrive(project: Project) -> None:
    many = {f"V{number}": "x" * 100_000 for number in range(9)}
    strange = {b"STRANGE": b"\xff\xfe=\n\x01", b"\xc3\xa4\xff": b"named strangely"}
    started = look(project, environment=many | strange)
    project.warm("engine")
    assert started == look(project, environment=many | strange)
    assert 1 == project.status.forked


def test_a_folder_that_the_warm_process_cannot_see_needs_a_start(project: Project) -> None:
    """It was deleted; or, with systemd's PrivateTmp, it is in a /tmp of the launcher's own."""
    project.warm("engine")
    folder = project.folder / "deleted"
    folder.mkdir()
    printed = project.run("print('ran')", cwd=folder, preexec_fn=folder.rmdir)
    assert "the warm process cannot use its folder" in printed
    assert printed.endswith("ran\n")


def test_what_modules_print_when_they_are_imported_is_not_printed_by_runs(project: Project) -> None:
    (project.folder / "prints.py").write_text("print('imported')")
    project.warm("engine", "prints")
    assert "" == project.run("import prints")
    assert 1 == project.log.count("imported\n")


def test_a_module_of_a_package_that_has_imported_it_is_run_without_a_warning(project: Project) -> None:
    package = project.folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import package.engine")
    shutil.copy(project.folder / "engine.py", package)
    project.warm("package")
    assert "ran\n" == project.run("print('ran')", "--module=package.engine")


def test_another_interpreter_needs_a_start(project: Project) -> None:
    other = project.folder / "bin" / "python"
    other.parent.mkdir()
    other.symlink_to(sys.executable)
    project.warm("engine")
    printed = project.run("print('ran')", python=other)
    assert f"the warm process has the interpreter {sys.executable}" in printed


def test_modules_beside_the_run_are_found(project: Project) -> None:
    project.warm("engine")
    folder = project.folder / "elsewhere"
    folder.mkdir()
    (folder / "beside.py").write_text("print('imported')")
    assert "imported\n" == project.run("import beside", cwd=folder)


def test_the_socket_may_have_a_long_path_and_is_for_its_account_alone(project: Project) -> None:
    deep = project.folder / ("deep" * 20) / ("deeper" * 20)
    deep.mkdir(parents=True)
    other = Project(deep)
    try:
        warm = other.warm("engine")
        assert f"{warm.pid}\n" == other.run("print(os.getppid())")
        assert 0o600 == other.socket.stat().st_mode & 0o777
    finally:
        other.close()


@pytest.mark.parametrize(
    ("variable", "value"), [("PYTHONPATH", "/elsewhere"), ("LD_PRELOAD", ""), ("LC_ALL", "C"), ("PYTHONOPTIMIZE", "1")]
)
def test_variables_that_an_interpreter_reads_at_its_start_need_a_start(
    shared: Project, variable: str, value: str
) -> None:
    value = f"{shared.environment['PYTHONPATH']}:{value}" if variable == "PYTHONPATH" else value
    printed = shared.run("print('ran')", environment={variable: value})
    assert f"the warm process began with another {variable}" in printed
    assert printed.endswith("ran\n")


def test_a_lower_priority_than_the_launchers_or_lower_limits_need_a_start(project: Project) -> None:
    project.warm("engine", preexec_fn=lambda: os.nice(1))
    assert "the warm process has a lower priority" in project.run("pass")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    project.warm("engine", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard - 1)))
    assert "the warm process has lower resource limits" in project.run("pass")


@pytest.fixture
def handlers() -> Iterator[None]:
    """No signal is ignored, as some are in the background of a shell; afterwards the handlers are as before."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in FORWARDED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_signals_that_come_before_the_run_has_begun_reach_it_or_the_launcher() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0)
        signals = ForwardedSignals(ours)
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(BlockingIOError):
            theirs.recv(10)
        signals.begin()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert [signal.SIGUSR1, signal.SIGUSR2] == list(theirs.recv(10))

        arrived: list[int] = []
        given_up = ForwardedSignals(ours)
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "kill", lambda _, number: arrived.append(number))
            given_up.give_up()
        assert [signal.SIGUSR1] == arrived
        assert {signal.SIG_DFL} == {signal.getsignal(number) for number in FORWARDED}


def test_it_works_as_a_copy_in_another_project(project: Project, tmp_path: Path) -> None:
    copy = tmp_path / "lifted"
    shutil.copytree(LAUNCHER.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    project.environment["PYTHONPATH"] = str(project.folder)  # without this project
    warm = project.start([sys.executable, "-m", "lifted", str(project.socket), "engine"], {}, "warm.log")
    eventually(project.socket.exists, SECONDS, "the socket")
    program = "import sys; print(os.getppid(), [each for each in sys.modules if each.startswith('deployments')])"
    assert f"{warm.pid} []\n" == project.run(program, launcher=copy / "launcher.py")
