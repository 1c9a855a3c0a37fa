"""The relay's waits, as values: a test replaces them by shorter ones."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """How long the relay waits for files, for a run slot, and between two attempts."""

    second_receive_after_seconds: float = 0.05
    """Between the first file and the second receive. A file that is still alone then is announced at once."""
    batch_quiet_seconds: int = 1
    """A batch of several files is complete when no message has arrived for this long. SQS accepts whole seconds."""
    batch_max_seconds: float = 5
    """A batch is sent at this age even if messages keep arriving."""
    slot_poll_seconds: float = 1
    """Between two requests for the number of free run slots, while none is free."""
    due_look_seconds: float = 2
    """Between two looks for files that are due."""
    upkeep_seconds: float = 5
    """Between two looks for overdue emails and silent runs."""
    retry_delays_seconds: Sequence[float] = (1, 2, 5, 15)
    """Before each further attempt while SQS or Prefect cannot be reached; the last value repeats."""

    def retry_delay_seconds(self, failures: int) -> float:
        """The delay after this many failures in a row."""
        return self.retry_delays_seconds[min(failures, len(self.retry_delays_seconds)) - 1]
