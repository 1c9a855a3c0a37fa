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
from collections.abc import Sequence
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
    chosen = [each for each in PROTECTIONS if not asked.names or any(name in each.name for name in asked.names)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="sensor-ingest-without-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(
            PROJECT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".local", "__pycache__", ".*_cache")
        )
        for protection in chosen:
            red = red_without(protection, copy)
            sys.stdout.write(f"{protection.name}: {', '.join(red) or 'NO TEST FAILS'}\n")
            sys.stdout.flush()
            rows.append((protection, red))
    if asked.write_report:
        write(rows, asked.write_report)
    return int(not all(red for _, red in rows))


def red_without(protection: Protection, copy: Path) -> list[str]:
    """The tests that fail in the copy without the protection."""
    file = copy / protection.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(protection.line, protection.instead), encoding="utf-8")
    try:
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-x", "-rfE"]
        done = run_for_at_most(
            SECONDS, [*pytest, *protection.tests], os.environ | {"PYTHONPATH": str(copy)}, folder=copy
        )
    except subprocess.TimeoutExpired:
        return [f"{' '.join(protection.tests)} (they do not end)"]
    finally:
        file.write_text(whole, encoding="utf-8")
    return sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)))


def write(rows: Sequence[tuple[Protection, list[str]]], target: Path) -> None:
    """Replace the list between the two marks of the page."""
    before, _, rest = target.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ["| without | in | fails |", "| --- | --- | --- |"]
    for protection, red in rows:
        tests = ", ".join(f"`{name.rpartition('::')[2]}`" for name in red) or "**nothing**"
        lines.append(f"| {protection.name} | `{protection.file}` | {tests} |")
    target.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
