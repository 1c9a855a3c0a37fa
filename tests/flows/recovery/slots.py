"""Run slots that a test sets, and events that it notes instead of sending them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from blocks.domain.models import SensorFile


@dataclass
class SetSlots:
    """As many free slots as the test sets."""

    free_now: int = 100

    def free(self) -> int:
        return self.free_now

    def take(self) -> bool:
        is_free = self.free_now > 0
        self.free_now -= is_free
        return is_free


@dataclass
class Announced:
    """The keys of the files in each event that would have been sent."""

    events: list[list[str]] = field(default_factory=list)
    occasions: set[str] = field(default_factory=set)

    def __call__(self, files: Sequence[SensorFile], incoming_prefix: str, occasion: str) -> None:
        assert incoming_prefix == "incoming/"
        self.events.append([file.key for file in files])
        self.occasions.add(occasion)

    def times(self, key: str) -> int:
        """How often the file was announced."""
        return sum(key in keys for keys in self.events)
