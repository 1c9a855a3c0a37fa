"""Warm processes and launchers, with a stand-in for Prefect's engine that executes what the test asks for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

import deployments.warm_starts
from deployments.warm_starts.status import Status, status
from tests.support.waiting import eventually

PROJECT: Final = Path(__file__).parents[3]
WARM_STARTS: Final = deployments.warm_starts.__name__
LAUNCHER: Final = Path(deployments.warm_starts.__path__[0]) / "launcher.py"
SECONDS: Final = 30

ENGINE: Final = "import os\nif __name__ == '__main__':\n    exec(os.environ['RUN'])\n"
"""The stand-in: a run is the text of a program in a variable."""


@dataclass
class Project:
    """A folder with the stand-in, a warm process for it, and launchers."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "engine.py").write_text(ENGINE)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTEST_"))}
        path = f"{self.folder}:{PROJECT}"
        self.environment = {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment.pop("PYTHONUNBUFFERED", None)

    @property
    def socket(self) -> Path:
        return self.folder / "warm.sock"

    def warm(self, *modules: str, **settings: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401 - those of Popen
        """A warm process that answers."""
        command = [sys.executable, "-m", WARM_STARTS, str(self.socket), *modules]
        process = self.start(command, settings.pop("environment", {}), "warm.log", **settings)
        eventually(lambda: self.answers(process), SECONDS, "the warm process to answer")
        return process

    def answers(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, self.log
        try:
            return status(self.socket).pid == process.pid
        except OSError:
            return False

    @property
    def status(self) -> Status:
        return status(self.socket)

    @property
    def log(self) -> str:
        return (self.folder / "warm.log").read_text()

    def launch(
        self,
        program: str,
        *options: str,
        log: str = "run.log",
        **settings: Any,  # noqa: ANN401 - those of Popen
    ) -> "subprocess.Popen[bytes]":
        """A launcher whose run executes the program."""
        launcher = str(settings.pop("launcher", LAUNCHER))
        python = str(settings.pop("python", sys.executable))
        command = [python, "-I", "-S", launcher, str(self.socket), "--module=engine", *options]
        environment = settings.pop("environment", {})
        return self.start(command, {**environment, "RUN": program}, log, **settings)

    def run(self, program: str, *options: str, **settings: Any) -> str:  # noqa: ANN401 - those of Popen
        """What a run prints; it may not fail."""
        launcher = self.launch(program, *options, **settings)
        code = launcher.wait(SECONDS)
        printed = (self.folder / "run.log").read_text(errors="surrogateescape")
        assert code == 0, printed
        return printed

    def start(
        self,
        command: list[str],
        environment: Mapping[Any, Any],
        log: str,
        **settings: Any,  # noqa: ANN401
    ) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("wb") as output:
            process = subprocess.Popen(
                command,
                **{
                    "env": {**self.environment, **environment},
                    "cwd": self.folder,
                    "stdin": subprocess.DEVNULL,
                    "stdout": output,
                    "stderr": subprocess.STDOUT,
                    "start_new_session": True,  # a signal to a group reaches no test
                    **settings,
                },
            )
        self.started.append(process)
        return process

    def written(self, name: str) -> str:
        """The content of a file that a run writes, once it is there."""

        def content() -> str | None:
            return (self.folder / name).read_text() if (self.folder / name).exists() else None

        return eventually(content, SECONDS, name)

    def close(self) -> None:
        for process in reversed(self.started):
            for child in children(process):
                child.kill()
            process.kill()
            process.wait()


def children(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Launchers inherit which signals this process ignores, as SIGINT in the background of a shell, or under nohup."""
    defaults: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, default) for number, default in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose warm process no test disturbs."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.warm("engine", "multiprocessing", "concurrent.futures", "asyncio", "random", "uuid")
    yield project
    project.close()
