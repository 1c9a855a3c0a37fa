"""What goes wrong in a simulation, how often, and for how long; the seed draws it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

Fault = Literal[
    "request lost",
    "answer lost",
    "request late",
    "server error",
    "killed before",
    "killed during",
    "stalled before",
    "stalled during",
]

KINDS: tuple[Fault, ...] = (
    "request lost",
    "answer lost",
    "request late",
    "server error",
    "killed before",
    "killed during",
    "stalled before",
    "stalled during",
)

RATES = (0.0, 0.0, 0.01, 0.03, 0.08)
"""Each kind of fault gets one of these shares of all calls, so that some runs have none of it and some a lot."""


@dataclass(frozen=True)
class Faults:
    """Shares of the calls that each fault hits, and how long what takes time lasts."""

    rates: Mapping[Fault, float] = field(default_factory=dict)
    longest_stall_seconds: float = 200.0
    longest_index_lag_seconds: float = 1.0
    repeated_delivery: float = 0.0
    """Share of the SQS messages and S3 events that arrive more than once."""
    late_delivery: float = 0.0
    """Share of the S3 events that arrive minutes late."""
    _total: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_total", sum(self.rates.values()))

    @classmethod
    def drawn(cls, random: Random) -> "Faults":
        """The faults of one seed."""
        kills = random.random() < 0.7
        rates = {kind: random.choice(RATES) for kind in KINDS if kills or not kind.startswith("killed")}
        return cls(
            rates=rates,
            longest_stall_seconds=random.choice((10.0, 70.0, 200.0, 700.0)),
            longest_index_lag_seconds=random.choice((0.02, 1.0, 5.0, 60.0)),
            repeated_delivery=random.choice((0.0, 0.05, 0.3)),
            late_delivery=random.choice((0.0, 0.1, 0.4)),
        )

    def of_call(self, random: Random) -> Fault | None:
        """What happens to the next attempt of a call; mostly nothing."""
        if not self._total:
            return None
        drawn = random.random()
        if drawn >= self._total:
            return None
        for kind, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return kind
        return None

    def stall_seconds(self, random: Random) -> float:
        """How long a stall lasts; short ones are more likely."""
        return self.longest_stall_seconds * random.random() ** 2 + 0.1

    def index_lag(self, random: Random) -> float:
        """Seconds until an index of DynamoDB shows a write; mostly a few milliseconds."""
        return 0.001 + self.longest_index_lag_seconds * random.random() ** 4
