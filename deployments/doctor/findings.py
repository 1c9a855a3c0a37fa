"""What the doctor finds: one line for each thing that a run needs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from blocks.domain.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments.doctor.system import World

Level = Literal["ok", "warning", "problem", "not checked"]

_MARKS: Final[dict[Level, str]] = {"ok": "ok  ", "warning": "WARN", "problem": "FAIL", "not checked": "--  "}


@dataclass(frozen=True)
class Verdict:
    """What one check saw, how bad that is, and what to do about it."""

    level: Level
    seen: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """A verdict, by the name of the check that came to it."""

    name: str
    level: Level
    seen: str
    remedy: str

    def __str__(self) -> str:
        """One line: `ok   bucket: …`, `FAIL queue: … → remedy`."""
        said = f"{self.name}: {self.seen}" + (f" → {self.remedy}" if self.remedy else "")
        return f"{_MARKS[self.level]} {printable(' '.join(said.split()))}"


@dataclass(frozen=True)
class Check:
    """One thing to look at, once what it needs was found to be there."""

    name: str
    look: "Callable[[World], Verdict]"
    needs: tuple[str, ...] = ()
    """Names of the checks without whose success this one cannot be made."""


def ok(seen: str) -> Verdict:
    return Verdict("ok", seen)


def warning(seen: str, remedy: str) -> Verdict:
    return Verdict("warning", seen, remedy)


def problem(seen: str, remedy: str) -> Verdict:
    return Verdict("problem", seen, remedy)


def as_text(findings: list[Finding]) -> str:
    """A line for each finding, and one that counts them."""
    return "\n".join([*map(str, findings), _summary(findings)])


def as_document(findings: list[Finding]) -> dict[str, Any]:
    """The same for programs."""
    listed = [{"name": f.name, "level": f.level, "seen": f.seen, "remedy": f.remedy} for f in findings]
    return {"healthy": is_healthy(findings), "findings": listed}


def is_healthy(findings: list[Finding]) -> bool:
    """Whether nothing was found that keeps runs from working. What could not be checked follows from what did."""
    return all(finding.level != "problem" for finding in findings)


def _summary(findings: list[Finding]) -> str:
    levels = [finding.level for finding in findings]
    counts = ", ".join(f"{levels.count(level)} {level}" for level in _MARKS if level in levels)
    return f"{len(findings)} checks: {counts}"
