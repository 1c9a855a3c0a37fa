"""How many seeds the simulation needs to find that a protection is missing.

    python -m tests.simulation.strength [--seeds 5000] [--write-report docs/reliability.md] [NAME …]

Each protection is taken out of a copy of the project, one at a time, as `tests.faults.protections` does.
"""

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.faults.protections import chosen, copied_project, replaced_between, without
from tests.faults.protections_list import Protection

BEGIN, END = "<!-- strength: written by tests/simulation/strength.py -->", "<!-- end of strength -->"
SEEDS: Final = 5000
PROCESSES: Final = 2

LIBRARIES: Final = ("prefect.main", "prefect_aws", "boto3", "aiohttp", "pandas", "jinja2")
"""Imported once: they take seconds, and the processes that run the simulation are forks of this one."""

_FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Found:
    """What the simulation found without a protection."""

    seeds: int
    """How many seeds it took; if nothing was found, how many were run."""
    failure: str
    """What failed; empty if nothing did."""


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a protection that the simulation must find is not found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="the most seeds for each protection")
    parser.add_argument("--write-report", type=Path)
    parser.add_argument("names", nargs="*", help="parts of the names of those to take out; all, if none is given")
    asked = parser.parse_args(arguments)
    for library in LIBRARIES:
        import_module(library)
    rows: list[tuple[Protection, Found | None]] = []
    with tempfile.TemporaryDirectory(prefix="sensor-ingest-strength-") as folder:
        copy = copied_project(Path(folder))
        for protection in chosen(asked.names):
            found = None
            if not protection.unseen:
                with without(protection, copy):
                    found = searched(copy, asked.seeds)
                sys.stdout.write(f"{protection.name}: {found.seeds} seeds: {found.failure or 'NOT FOUND'}\n")
                sys.stdout.flush()
            rows.append((protection, found))
    if asked.write_report:
        replaced_between(BEGIN, END, table(rows), asked.write_report)
    return int(any(found is not None and not found.failure for _, found in rows))


def searched(project: Path, seeds: int) -> Found:
    """What the simulation of that copy of the project finds with the first of these seeds that fails."""
    with tempfile.TemporaryDirectory(prefix="sensor-ingest-strength-") as results:
        running = [
            _FORK.Process(target=_search_in, args=(project, range(first, seeds, PROCESSES), Path(results)))
            for first in range(PROCESSES)
        ]
        for process in running:
            process.start()
        for process in running:
            process.join()
        if any(process.exitcode for process in running):
            return Found(0, "the simulation cannot be run")
        failed = {int(path.name): path.read_text(encoding="utf-8") for path in Path(results).iterdir()}
    return Found(min(failed) + 1, failed[min(failed)]) if failed else Found(seeds, "")


def _search_in(project: Path, seeds: range, results: Path) -> None:
    """Run the simulation of that copy, in a process that forgets which modules of this project it has imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "blocks", "flows", "deployments")]:
        del sys.modules[name]
    os.chdir(project)
    sys.path.insert(0, str(project))
    import_module("tests.simulation.search").search(seeds, results)


def table(rows: Sequence[tuple[Protection, Found | None]]) -> list[str]:
    """The lines of the table for the page."""
    lines = ["| without | seeds | what fails, or why it cannot |", "| --- | ---: | --- |"]
    for protection, found in rows:
        seeds = "" if found is None else f"{found.seeds:,}" if found.failure else f"more than {found.seeds:,}"
        said = protection.unseen if found is None else _short(found.failure) or "**nothing**"
        lines.append(f"| {protection.name} | {seeds} | {said} |")
    return lines


def _short(failure: str) -> str:
    """The failure without what differs from seed to seed."""
    text = re.sub(r"^\w+: |^\d+ problems: [\d.]+ s: ", "", re.sub(r"^\w+: ", "", failure))
    text = re.split(r": (?:\w+\(|\{)", text, maxsplit=1)[0]
    return text.replace("|", "\\|")[:140]


if __name__ == "__main__":
    raise SystemExit(main())
