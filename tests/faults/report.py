"""The page docs/reliability.md: what the cases showed, as a matrix of faults by steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- matrix: written by make test-faults -->", "<!-- end of matrix -->"


@dataclass(frozen=True)
class Case:
    """One fault at one step."""

    fault: str
    step: str
    how: str
    """`kill -9`, or `AWS` for what AWS or the way there does."""
    passed: bool


def write_report(cases: Sequence[Case], target: Path) -> None:
    """Put the matrix where the page has its place for it; all else on the page stays as it is."""
    before, _, rest = target.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    target.write_text(f"{before}{BEGIN}\n\n{matrix(cases)}\n{END}{after}", encoding="utf-8")


def matrix(cases: Sequence[Case]) -> str:
    """Markdown: how many cases, how many of them passed, and a table for each kind of fault."""
    combinations = {(case.fault, case.step) for case in cases}
    passed = sum(case.passed for case in cases)
    lines = [f"{len(cases)} cases, {len(combinations)} combinations of fault and step; {passed} passed.", ""]
    for how in dict.fromkeys(case.how for case in cases):
        lines += [*_table(how, [case for case in cases if case.how == how]), ""]
    return "\n".join(lines)


def _table(how: str, cases: Sequence[Case]) -> list[str]:
    """Steps down, faults across; a cell says how many of its cases passed."""
    faults = list(dict.fromkeys(case.fault for case in cases))
    steps = list(dict.fromkeys(case.step for case in cases))
    lines = [f"| {how} | {' | '.join(faults)} |", f"| --- |{' ---: |' * len(faults)}"]
    for step in steps:
        cells = []
        for fault in faults:
            here = [case.passed for case in cases if (case.fault, case.step) == (fault, step)]
            cells.append(f"{sum(here)}/{len(here)}" if here else "")
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return lines
