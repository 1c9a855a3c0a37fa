"""How far a long load has come: a line in the log and a bar in the Prefect UI, now and then; a bar on a terminal."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

if TYPE_CHECKING:
    from uuid import UUID

    from rich.console import Console
    from rich.progress import Progress

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


class TerminalBars:
    """Bars of all loads of this process, one below the other, on the terminal that standard error is.

    They share the console of Prefect's log, so that lines of the log appear above them and not in their midst.
    """

    def __init__(self) -> None:
        self._lock, self._shown = Lock(), 0

    @contextmanager
    def bar(self, name: str, rows: int, progress: Callable[[int], object]) -> Iterator[Callable[[int], object]]:
        """What is to be called with the number of rows written so far; without a terminal, `progress` itself."""
        console = _terminal()
        if console is None:
            yield progress
            return
        with self._lock:
            if not self._shown:
                self._bars = _bars(console)
                self._bars.start()
            self._shown += 1
        row = self._bars.add_task(name, total=rows)

        def show(written: int) -> None:
            self._bars.update(row, completed=written)
            progress(written)

        try:
            yield show
        finally:
            self._bars.refresh()
            self._bars.remove_task(row)
            with self._lock:
                self._shown -= 1
                if not self._shown:
                    self._bars.stop()


_TERMINAL_BARS: Final = TerminalBars()


def terminal_bar(
    name: str, rows: int, progress: Callable[[int], object]
) -> AbstractContextManager[Callable[[int], object]]:
    """A bar among those of this process: see `TerminalBars.bar`.

    A function, because Prefect sends tasks to other processes with the objects that they name, and a lock cannot go.
    """
    return _TERMINAL_BARS.bar(name, rows, progress)


def _terminal() -> "Console | None":
    """The console that Prefect's log goes to, if that is a terminal and not standard output."""
    if not sys.stderr.isatty():
        return None
    for handler in logging.getLogger().handlers:
        console: Console | None = getattr(handler, "console", None)
        if console is not None and console.is_terminal and console.file is not sys.stdout:
            return console
    return None


def _bars(console: "Console") -> "Progress":
    from rich.progress import (  # noqa: PLC0415 - what only a terminal needs
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(style="dim", complete_style="green", finished_style="green", pulse_style="dim"),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
