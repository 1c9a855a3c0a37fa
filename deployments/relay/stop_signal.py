"""A clean stop on Ctrl-C and SIGTERM: what must not be cut in two is finished, what only waits ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class StopRequested(BaseException):
    """Raised out of a wait when a stop is asked for."""


class StopSignal:
    """Whether a stop was asked for. As a context manager, in the main thread, it listens to SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._waiting = False
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
        return self._asked.is_set()

    def request(self) -> None:
        self._asked.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether a stop was asked for within that time."""
        return self._asked.wait(seconds)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A stretch of code that may be left anywhere.

        Raises:
            StopRequested: a stop was asked for, before or meanwhile.
        """
        self._waiting = True
        try:
            if self.requested:
                raise StopRequested
            yield
        finally:
            self._waiting = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.set()
        if self._waiting:
            raise StopRequested
