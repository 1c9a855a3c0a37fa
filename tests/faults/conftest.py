"""One stack that all cases share, each with files of its own; and the page that says what they showed.

The folder takes many minutes, so `make test` leaves it out: it is collected only where it is named. With pytest-xdist
each worker has a stack of its own; what it has measured travels to the one page with the reports of its tests.
"""

from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faults.dropped_files import Dropper
from tests.faults.recovery import Recovery, Times
from tests.faults.report import Case, write_report
from tests.faults.system import FaultySystem, faulty_system

FOLDER = Path(__file__).parent

_TIMES = "recovery"

_cases: list[Case] = []
_times: list[Times] = []
_recoveries: list[Recovery] = []
"""What the stack of this process has measured, and no report has yet."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-report", type=Path, help="Where to write the matrix of faults by steps (Markdown).")
    parser.addoption("--minutes", type=float, default=20, help="How long the soak lasts.")
    parser.addoption("--seed", type=int, default=None, help="Repeats the kills of a soak.")


@pytest.fixture(scope="session")
def said() -> list[str]:
    """What the stack has said so far."""
    return []


@pytest.fixture(scope="session")
def recoveries() -> list[Recovery]:
    """Where a stack notes what was measured; the next report takes it along."""
    return _recoveries


@pytest.fixture(scope="session")
def system(said: list[str], recoveries: list[Recovery]) -> Iterator[FaultySystem]:
    with faulty_system(said.append, recoveries) as running:
        yield running


@pytest.fixture(scope="session")
def files(system: FaultySystem) -> Dropper:
    return Dropper(system, count(1))


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    named = any("faults" in str(argument) for argument in config.args)
    return None if named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if {"fault", "step"} <= parameters.keys():
            fault, step = parameters["fault"], parameters["step"]
            item.user_properties += [("how", fault.how), ("fault", fault.name), ("step", step.name)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    while _recoveries:
        times = _recoveries.pop(0).times
        report.user_properties.append((_TIMES, [times.group, times.loaded, times.emailed]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    known = dict(report.user_properties)
    if "fault" in known and (report.when == "call" or report.failed):
        _cases.append(Case(str(known["fault"]), str(known["step"]), str(known["how"]), passed=report.passed))
    _times.extend(Times(*measured) for name, measured in report.user_properties if name == _TIMES)  # type: ignore[misc]


def pytest_sessionfinish(session: pytest.Session) -> None:
    target: Path | None = session.config.getoption("--write-report")
    if target and not hasattr(session.config, "workerinput"):
        write_report(_cases, _times, target)
