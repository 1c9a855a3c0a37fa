"""The warm process as a part of the stack: what a run is started with, and a stack whose warm process fails."""

import pytest

from deployments.embedded import EmbeddedStack
from deployments.embedded.services import warm_process
from tests.deployments.embedded.conftest import NewDataDir, run_command
from tests.deployments.embedded.up import IDLE


def test_the_worker_has_runs_forked_by_a_process_that_has_imported_them(stack: EmbeddedStack) -> None:
    assert list(warm_process.warm_start_command(stack.description)) == run_command(stack)
    found = warm_process.warm_status(stack.description)
    assert (None, ["deployments.preloaded"]) == (found.problem, found.modules)


def test_a_warm_process_that_cannot_import_costs_a_stack_one_line(
    new_data_dir: NewDataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_process, "MODULES", ("no_such_module",))
    lines: list[str] = []
    with EmbeddedStack(new_data_dir(), relay_command=IDLE, log=lines.append) as stack:
        assert "no_such_module" in (warm_process.warm_status(stack.description).problem or "")
    about = [line for line in lines if "warm" in line]
    assert 1 == len(about), about
    assert about[0].startswith("runs start without the warm process: no_such_module cannot be imported")
    assert [line for line in lines if line.startswith("ready")]
