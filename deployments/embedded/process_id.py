"""Identity of a process that stays unique after its number is reused."""

import signal

from pydantic import BaseModel, ConfigDict


class ProcessId(BaseModel):
    """Number and creation time of a process: the system reuses the number, but not the pair."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float
    """Seconds since the epoch."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Signal for a clean stop."""
