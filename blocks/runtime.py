"""Time, chance, identity and threads of the code that owns files: the seam where the tests put a simulator."""

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

from blocks.domain.text import OneLineLog


class Runtime:
    """What the machine, and the flow run that this code belongs to, offer. A simulator installs another one."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back and means nothing elsewhere.

        On Linux it counts the time that the machine was suspended too, which `time.monotonic` leaves out: a lease must
        not seem valid after a pause of the virtual machine. Source: clock_gettime(2), CLOCK_BOOTTIME.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def utc_now(self) -> datetime:
        """The time on this machine's clock, for people to read; it decides nothing."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)

    def uniform(self, low: float, high: float) -> float:
        """A random number between the two, for jitter."""
        return random.uniform(low, high)  # noqa: S311 - no secret depends on it

    def unique_id(self) -> str:
        """Text that no other call returns."""
        return uuid.uuid4().hex

    def flow_run_id(self) -> str:
        """The id of the flow run that this code belongs to; empty outside of one."""
        from prefect.runtime import flow_run  # noqa: PLC0415 - blocks are used outside of runs too

        return flow_run.id or ""

    def log(self) -> "logging.Logger | logging.LoggerAdapter[Any]":
        """The logger of the flow run, whose lines Prefect shows; outside of a run the one of this project.

        Each message is one line, whatever is in the keys and errors that it shows.
        """
        from prefect import get_run_logger  # noqa: PLC0415 - likewise
        from prefect.exceptions import MissingContextError  # noqa: PLC0415 - likewise

        try:
            return OneLineLog(get_run_logger())
        except MissingContextError:
            return OneLineLog(logging.getLogger("sensor-ingest"))

    def emit(self, event: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> None:
        """Send an event to the Prefect server; it may get lost."""
        from prefect.events import emit_event  # noqa: PLC0415 - likewise

        emit_event(event=event, resource=dict(resource), payload=dict(payload))

    @contextmanager
    def repeated(self, action: Callable[[], bool], every_seconds: float, name: str) -> Iterator[None]:
        """While the block lasts, call the action in another thread at this interval, until it returns False.

        The thread belongs to the same flow run, so it uses the same blocks.
        """
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(every_seconds) and action():
                pass

        thread = threading.Thread(target=copy_context().run, args=(repeat,), name=name, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


_INSTALLED: list[Runtime] = [Runtime()]


def runtime() -> Runtime:
    """The runtime in force."""
    return _INSTALLED[-1]


@contextmanager
def installed(other: Runtime) -> Iterator[None]:
    """While the block lasts, `runtime()` returns the other one."""
    _INSTALLED.append(other)
    try:
        yield
    finally:
        _INSTALLED.remove(other)
