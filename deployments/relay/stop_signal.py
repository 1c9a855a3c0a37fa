"""A clean stop on Ctrl-C and SIGTERM: a wait ends at once, everything else is finished first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class StopRequested(BaseException):
    """Raised inside a wait when a stop is requested."""


class StopSignal:
    """Whether a stop was requested. As a context manager, in the main thread, it handles SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._interruptible = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether a stop is requested within this time."""
        return self._event.wait(seconds)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block of code that a signal may interrupt anywhere.

        Raises:
            StopRequested: a stop was requested before the block or inside it.
        """
        self._interruptible = True
        try:
            if self.requested:
                raise StopRequested
            yield
        finally:
            self._interruptible = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()
        if self._interruptible:
            raise StopRequested
