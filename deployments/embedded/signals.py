"""What ends a stack: Ctrl-C, SIGTERM, or the end of the terminal that it runs in."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handling(handler: _Handler) -> Iterator[None]:
    """Have signals that end a process handled so, as long as this lasts; only the main thread can have that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup has it
    numbers = _SIGNALS[:-1] if ignored else _SIGNALS
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave whatever the main thread is at, in the way that Python has for that signal.

    Raises:
        KeyboardInterrupt: for Ctrl-C.
        SystemExit: for the others, with the exit code that shells know them by.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextmanager
def hurrying() -> Iterator[threading.Event]:
    """An event that signals set, instead of ending anything: for what has to be brought to its end, only faster."""
    hurry = threading.Event()
    with handling(lambda *_: hurry.set()):
        yield hurry
