"""How runs start, from the work pool and the warm process that its command names."""

from pathlib import Path
from typing import Any

import pytest

from deployments.commands.status import prefect_parts
from deployments.commands.status.prefect_parts import starts
from deployments.commands.status.seen import Starts
from deployments.warm_starts.status import Status


def pool(command: str) -> dict[str, Any]:
    return {"base_job_template": {"variables": {"properties": {"command": {"default": command}}}}}


def test_a_pool_whose_warm_process_is_not_here_starts_cold_as_far_as_this_machine_knows(tmp_path: Path) -> None:
    seen = starts(pool(f"python warm_starts/launcher.py {tmp_path}/warm.sock"))
    assert ("cold", True) == (seen.kind, f"no warm process answers here on {tmp_path}/warm.sock" in seen.why)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [(None, Starts("warm", "", 7, 2)), ("pandas cannot be imported", Starts("cold", "pandas cannot be imported"))],
)
def test_a_warm_process_says_how_it_is(problem: str | None, expected: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_parts, "status", lambda _: Status(1, problem, [], 7, 2))
    assert expected == starts(pool("python warm_starts/launcher.py /run/warm.sock"))
