"""The workflows of GitHub, which cannot run here: they call what exists, for the Pythons that the project names."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

PROJECT: Final = Path(__file__).parents[2]
WORKFLOWS: Final = {path.stem: path for path in sorted((PROJECT / ".github" / "workflows").glob("*.yml"))}
TARGETS: Final = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))["jobs"]
    return found


def commands(name: str) -> list[str]:
    """Each command of a workflow, for each target of its matrix."""
    found = []
    for job in jobs(name).values():
        targets = job["strategy"]["matrix"].get("target", [""])
        runs = [step["run"] for step in job["steps"] if "run" in step]
        found += [run.replace("${{ matrix.target }}", target) for run in runs for target in targets]
    return found


def test_there_are_two_workflows() -> None:
    assert ["nightly", "test"] == list(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_make_target_exists(name: str) -> None:
    called = [match for command in commands(name) for match in re.findall(r"^make ([a-z-]+)", command)]
    assert called
    assert [] == sorted(set(called) - TARGETS)


def test_each_change_is_tested_as_in_ci_with_all_pythons_from_the_oldest() -> None:
    assert ["make test PYTHON=python"] == commands("test")
    assert "make test" in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    [job] = jobs("test").values()
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    pythons = job["strategy"]["matrix"]["python"]
    assert ["3.11", "3.12", "3.13", "3.14"] == pythons
    assert f">={pythons[0]}" == described["project"]["requires-python"]


def test_every_night_runs_what_is_too_long_for_each_change() -> None:
    ran = {command.split()[1] for command in commands("nightly") if command.startswith("make ")}
    assert {"test-faults", "protections", "simulate", "fuzz", "test-iam"} <= ran


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_and_ends(name: str) -> None:
    assert {"contents": "read"} == yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))["permissions"]
    assert all(job["timeout-minutes"] <= 360 for job in jobs(name).values())  # GitHub's own limit
