"""Prints the part of `requirements.lock` that the project needs to run: an image has no use for what only tests need.

    python deployments/image_requirements.py [EXTRA…]

The lock says of each package what it is there "via", so it alone tells what belongs to what. Plain Python, because the
image is not there yet when it runs.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def requirements(extras: Iterable[str] = ()) -> str:
    """The entries of the lock, hashes and all, that the project's dependencies, those extras and its build need."""
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    project, build = described["project"], described["build-system"]["requires"]
    optional = [each for extra in extras for each in project["optional-dependencies"][extra]]
    needed = {_name(each) for each in [*project["dependencies"], *optional, *build]}
    entries = dict(_entries((PROJECT / "requirements.lock").read_text(encoding="utf-8")))
    asked_for_by = {
        name: set(re.findall(r"^    # +(?:via )?([A-Za-z0-9._-]+)$", entries[name], re.MULTILINE)) for name in entries
    }
    while more := {name for name, by in asked_for_by.items() if by & needed} - needed:
        needed |= more
    return "".join(text for name, text in entries.items() if name in needed)


def _entries(lock: str) -> Iterator[tuple[str, str]]:
    for text in re.findall(r"^[A-Za-z0-9].*\n(?:    .*\n)*", lock, re.MULTILINE):
        yield _name(text), text


def _name(requirement: str) -> str:
    """The name, written as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


if __name__ == "__main__":
    sys.stdout.write(requirements(sys.argv[1:]))
