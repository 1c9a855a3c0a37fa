"""The progress of a long load: a log line and a bar in the Prefect UI every ten seconds, and a bar on a terminal."""

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

EVERY_SECONDS: Final = 10.0
"""Seconds between two reports about a load. A shorter load has none."""


class LoadProgress:
    """Called with the number of rows written so far, reports it at most every `EVERY_SECONDS`."""

    def __init__(
        self,
        rows: int,
        log: Callable[[str], object],
        show_percent: Callable[[float], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows, self._log, self._show_percent, self._now = rows, log, show_percent, now
        self._reported_at, self._reported_rows = now(), 0

    def __call__(self, written: int) -> None:
        """Report the rate since the last report, and the time left at that rate."""
        seconds = self._now() - self._reported_at
        if seconds < EVERY_SECONDS:
            return
        rate = (written - self._reported_rows) / seconds
        rest = f"about {(self._rows - written) / rate:,.0f} s to go" if rate else "the table accepts nothing"
        share = 100 * written / self._rows
        self._log(f"{written:,} of {self._rows:,} rows written ({share:.0f} %), {rate:,.0f} a second, {rest}")
        self._show_percent(share)
        self._reported_at, self._reported_rows = self._now(), written


class ProgressBar:
    """A progress artifact of the task run, created at the first report."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._id: UUID | None = None

    def __call__(self, percent: float) -> None:
        """Show the percentage. If the Prefect server does not answer, the load goes on."""
        try:
            if self._id is None:
                self._id = create_progress_artifact(percent, key="load", description=self._description)  # type: ignore[assignment] # no event loop runs in this thread
            else:
                update_progress_artifact(self._id, percent)
        except (PrefectException, httpx.HTTPError):
            return


class TerminalBars:
    """The bars of all loads of this process on the terminal, one below the other.

    They share the console of Prefect's log handler, so that log lines appear above them.
    """

    def __init__(self) -> None:
        self._lock, self._shown = Lock(), 0

    @contextmanager
    def bar(self, name: str, rows: int, progress: Callable[[int], object]) -> Iterator[Callable[[int], object]]:
        """The function to call with the number of rows written so far; without a terminal, `progress` itself."""
        console = _terminal()
        if console is None:
            yield progress
            return
        with self._lock:
            if not self._shown:
                from rich.progress import MofNCompleteColumn  # noqa: PLC0415 - only a terminal needs it

                from flows.report.progress_bar import progress_bars  # noqa: PLC0415 - likewise

                self._bars = progress_bars(console, MofNCompleteColumn())
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
    """One of the bars of this process, see `TerminalBars.bar`.

    A function, as Prefect pickles tasks with the objects that they name, and the lock of the bars cannot be pickled.
    """
    return _TERMINAL_BARS.bar(name, rows, progress)


def _terminal() -> "Console | None":
    """The console of Prefect's log handler, if it is a terminal and not standard output."""
    if not sys.stderr.isatty():
        return None
    for handler in logging.getLogger().handlers:
        console: Console | None = getattr(handler, "console", None)
        if console is not None and console.is_terminal and console.file is not sys.stdout:
            return console
    return None
