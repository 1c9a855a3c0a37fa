"""A check, its result, and the output of all results as text or JSON."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from blocks.domain.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments.doctor.system import InspectedSystem

Level = Literal["ok", "warning", "problem", "not checked"]

_LABELS: Final[dict[Level, str]] = {"ok": "ok  ", "warning": "WARN", "problem": "FAIL", "not checked": "--  "}


@dataclass(frozen=True)
class CheckResult:
    """What a check found, and the remedy if that is a problem."""

    level: Level
    seen: str
    remedy: str = ""
    name: str = ""
    """Name of the check; `run_checks` sets it."""

    def __str__(self) -> str:
        """One line: `ok   bucket: …`, `FAIL queue: … → remedy`."""
        text = f"{self.name}: {self.seen}" + (f" → {self.remedy}" if self.remedy else "")
        return f"{_LABELS[self.level]} {printable(' '.join(text.split()))}"


@dataclass(frozen=True)
class Check:
    """One check, and the checks that must succeed before it."""

    name: str
    run: "Callable[[InspectedSystem], CheckResult]"
    needs: tuple[str, ...] = ()
    """Names of checks; if one of them has a problem, this check is skipped."""


def ok(seen: str) -> CheckResult:
    return CheckResult("ok", seen)


def warning(seen: str, remedy: str) -> CheckResult:
    return CheckResult("warning", seen, remedy)


def problem(seen: str, remedy: str) -> CheckResult:
    return CheckResult("problem", seen, remedy)


def not_checked(needs: str) -> CheckResult:
    return CheckResult("not checked", f"not checked: needs {needs}")


def as_text(results: list[CheckResult]) -> str:
    """One line per result, then a line with the number of results per level."""
    levels = [result.level for result in results]
    counts = ", ".join(f"{levels.count(level)} {level}" for level in _LABELS if level in levels)
    return "\n".join([*map(str, results), f"{len(results)} checks: {counts}"])


def as_document(results: list[CheckResult]) -> dict[str, Any]:
    """The results as a JSON document."""
    findings = [{"name": each.name, "level": each.level, "seen": each.seen, "remedy": each.remedy} for each in results]
    return {"healthy": is_healthy(results), "findings": findings}


def is_healthy(results: list[CheckResult]) -> bool:
    """Whether no check has a problem; a check is skipped only if another one has a problem."""
    return all(result.level != "problem" for result in results)
