"""What identifies a process for certain, across restarts of whoever asks."""

import signal

from pydantic import BaseModel, ConfigDict


class ProcessId(BaseModel):
    """A process id, and when that process was created: numbers are used again, the pair is not."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float
    """Seconds since the epoch."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What makes it end in good order."""
