"""How far a long load has come: a line in the log and a bar in the Prefect UI, now and then."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

if TYPE_CHECKING:
    from uuid import UUID

EVERY_SECONDS: Final = 10.0
"""Seconds between two words about a load. A load that takes less is not worth one."""


class LoadProgress:
    """Called with the number of rows written so far, says it to people when they have not heard for a while."""

    def __init__(
        self,
        rows: int,
        say: Callable[[str], object],
        draw: Callable[[float], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows, self._say, self._draw, self._now = rows, say, draw, now
        self._said_at, self._said_of = now(), 0

    def __call__(self, written: int) -> None:
        """Say the rate since the last time, and how long the rest will take at it."""
        seconds = self._now() - self._said_at
        if seconds < EVERY_SECONDS:
            return
        rate = (written - self._said_of) / seconds
        rest = f"about {(self._rows - written) / rate:,.0f} s to go" if rate else "the table takes nothing"
        share = 100 * written / self._rows
        self._say(f"{written:,} of {self._rows:,} rows written ({share:.0f} %), {rate:,.0f} a second, {rest}")
        self._draw(share)
        self._said_at, self._said_of = self._now(), written


class ProgressBar:
    """A progress artifact of the task run, made when there is first something to show."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._id: UUID | None = None

    def __call__(self, percent: float) -> None:
        """Show that much. Prefect being away is no reason for a load to fail."""
        try:
            if self._id is None:
                self._id = create_progress_artifact(percent, key="load", description=self._description)  # type: ignore[assignment] # no event loop runs in this thread
            else:
                update_progress_artifact(self._id, percent)
        except (PrefectException, httpx.HTTPError):
            return
