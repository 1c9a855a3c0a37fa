"""Signals that stop a stack: Ctrl-C, SIGTERM, and SIGHUP when the terminal closes."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handle_stop_signals(handler: _Handler) -> Iterator[None]:
    """Install the handler for the duration of the block; in other threads than the main thread this has no effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # under nohup
    numbers = _STOP_SIGNALS[:-1] if ignored else _STOP_SIGNALS
    previous_handlers = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)


def raise_exit(number: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler that raises Python's exception for the signal in the main thread.

    Raises:
        KeyboardInterrupt: for Ctrl-C.
        SystemExit: for other signals, with the exit code that shells use for them.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextmanager
def force_on_signal() -> Iterator[threading.Event]:
    """An event that stop signals set; they interrupt nothing, so a stop that is under way completes, only faster."""
    force = threading.Event()
    with handle_stop_signals(lambda *_: force.set()):
        yield force
