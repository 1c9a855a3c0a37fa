"""The protections, removed one by one from a copy of the project, and the tests that fail without them.

    python -m tests.faults.protections [--write-report docs/reliability.md] [NAME …]

`tests/simulation/strength.py` does the same with the simulation in the place of the tests.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.protections_list import PROTECTIONS, Protection
from tests.support.waiting import run_for_at_most

PROJECT: Final = Path(__file__).parents[2]
BEGIN, END = "<!-- protections: written by tests/faults/protections.py -->", "<!-- end of protections -->"
SECONDS: Final = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a protection can be removed without a failing test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-report", type=Path)
    parser.add_argument("names", nargs="*", help="parts of the names of those to take out; all, if none is given")
    asked = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sensor-ingest-without-") as folder:
        copy = copied_project(Path(folder))
        for protection in chosen(asked.names):
            with without(protection, copy):
                red = failing_tests(protection, copy)
            sys.stdout.write(f"{protection.name}: {', '.join(red) or 'NO TEST FAILS'}\n")
            sys.stdout.flush()
            rows.append((protection, red))
    if asked.write_report:
        replaced_between(BEGIN, END, table(rows), asked.write_report)
    return int(not all(red for _, red in rows))


def chosen(names: Sequence[str]) -> list[Protection]:
    """The protections with one of these parts in their name; all, if there are none."""
    return [each for each in PROTECTIONS if not names or any(name in each.name for name in names)]


def copied_project(folder: Path) -> Path:
    """A copy of the project in the folder."""
    left_out = shutil.ignore_patterns(".venv", ".git", ".local", "__pycache__", ".*_cache")
    return Path(shutil.copytree(PROJECT, folder / "project", ignore=left_out))


def environment(project: Path) -> dict[str, str]:
    """The environment in which Python imports from that copy, also what was changed within the same second."""
    return os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def without(protection: Protection, project: Path) -> Iterator[None]:
    """While the block lasts, that copy of the project lacks the protection."""
    file = project / protection.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(protection.line, protection.instead), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(whole, encoding="utf-8")


def failing_tests(protection: Protection, project: Path) -> list[str]:
    """The tests that fail in a copy of the project without the protection, the first of them."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-x", "-rfE"]
    try:
        done = run_for_at_most(SECONDS, [*pytest, *protection.tests], environment(project), folder=project)
    except subprocess.TimeoutExpired:
        return [f"{' '.join(protection.tests)} (they do not end)"]
    return sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)))


def table(rows: Sequence[tuple[Protection, list[str]]]) -> list[str]:
    """The lines of the table for the page."""
    lines = ["| without | in | fails |", "| --- | --- | --- |"]
    for protection, red in rows:
        tests = ", ".join(f"`{name.rpartition('::')[2]}`" for name in red) or "**nothing**"
        lines.append(f"| {protection.name} | `{protection.file}` | {tests} |")
    return lines


def replaced_between(begin: str, end: str, lines: Sequence[str], page: Path) -> None:
    """Replace what is between the two marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text("\n".join([f"{before}{begin}", "", *lines, "", f"{end}{after}"]), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
