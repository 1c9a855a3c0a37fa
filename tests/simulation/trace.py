"""What happened in a simulation, step by step; a step becomes text only when somebody reads it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Describe = Callable[..., str]


@dataclass(slots=True)
class Trace:
    """The steps of one simulation, in the order in which they took effect.

    A step keeps references to its values. Whoever changes one of them later changes what the trace says.
    """

    steps: list[tuple[float, str, Describe | str, tuple[Any, ...]]] = field(default_factory=list)

    def add(self, at: float, who: str, what: Describe | str, *values: Any) -> None:  # noqa: ANN401 - any values
        """Add a step: `what` is a text, or a function that makes one of the values."""
        self.steps.append((at, who, what, values))

    def lines(self) -> Iterator[str]:
        """One line a step: seconds since the start, who, what."""
        for at, who, what, values in self.steps:
            text = what if isinstance(what, str) else what(*values)
            yield f"{at:11.4f}  {who:<24}  {text}"

    def __str__(self) -> str:
        return "\n".join(self.lines())
