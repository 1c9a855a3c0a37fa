"""What tests share: waiting for something that takes its own time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T | None], timeout_seconds: float, what: str) -> T:
    """The first answer of `check` that is true, asked for over and over until the time is up.

    Raises:
        TimeoutError: it never was; the text says what was waited for, and the last answer.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:g} s for {what}; the last answer was {answer!r}")
        time.sleep(0.05)
    return answer
