"""The page docs/reliability.md: what the cases showed, as a matrix of faults by steps, and how long recovery took."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isinf
from pathlib import Path

from tests.faults.recovery import Times

BEGIN, END = "<!-- matrix: written by make test-faults -->", "<!-- end of matrix -->"
TIMES_BEGIN, TIMES_END = "<!-- recovery times: written by make test-faults -->", "<!-- end of recovery times -->"

LEFT_AFTER_MINUTES = (2, 10)


@dataclass(frozen=True)
class Case:
    """One fault at one step."""

    fault: str
    step: str
    how: str
    """`kill -9 of`, `SIGSTOP of`, or `AWS` for what AWS or the way there does."""
    passed: bool


def write_report(cases: Sequence[Case], recoveries: Sequence[Times], target: Path) -> None:
    """Put matrix and times where the page has its places for them; all else on the page stays as it is."""
    page = target.read_text(encoding="utf-8")
    if cases:
        page = _with_section(page, BEGIN, END, matrix(cases))
    if recoveries:
        page = _with_section(page, TIMES_BEGIN, TIMES_END, times(recoveries))
    target.write_text(page, encoding="utf-8")


def _with_section(page: str, begin: str, end: str, text: str) -> str:
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def matrix(cases: Sequence[Case]) -> str:
    """Markdown: how many cases, how many of them passed, and a table for each kind of fault."""
    combinations = {(case.how, case.fault, case.step) for case in cases}
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


def times(recoveries: Sequence[Times]) -> str:
    """Markdown: how long after the fault files were loaded and emails left, a line for each group of faults."""
    left = " | ".join(f"later than {minutes} min" for minutes in LEFT_AFTER_MINUTES)
    lines = [f"| after | | files | median | 90 % | longest | {left} |"]
    lines += [f"| --- | --- |{' ---: |' * (4 + len(LEFT_AFTER_MINUTES))}"]
    for group in dict.fromkeys(recovery.group for recovery in recoveries):
        chosen = [recovery for recovery in recoveries if recovery.group == group]
        for what, seconds in (
            ("loaded", [each for recovery in chosen for each in recovery.loaded]),
            ("emailed", [each for recovery in chosen for each in recovery.emailed]),
        ):
            shown = " | ".join(_seconds_text(share_within(seconds, share)) for share in (0.5, 0.9, 1.0))
            later = " | ".join(str(sum(each > 60 * minutes for each in seconds)) for minutes in LEFT_AFTER_MINUTES)
            lines.append(f"| {group} | {what} | {len(seconds)} | {shown} | {later} |")
    return "\n".join([*lines, ""])


def share_within(seconds: Sequence[float], share: float) -> float:
    """The time within which this share of them lies: an element, never a mean of two."""
    return sorted(seconds)[max(0, ceil(share * len(seconds)) - 1)]


def _seconds_text(seconds: float) -> str:
    return "never" if isinf(seconds) else f"{seconds:.0f} s"
