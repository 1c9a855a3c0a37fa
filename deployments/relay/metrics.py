"""What the relay has done and how long the queue is: in words every minute, and for Prometheus."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from deployments.relay.stop_signal import StopSignal

SAYS_EVERY_SECONDS: Final = 60.0
LOOPBACK: Final = "127.0.0.1"

log = logging.getLogger("relay")


@dataclass
class Figures:
    """Written by the relay, read by those who want to know. Counters count since the relay was started."""

    events: int = 0
    files: int = 0
    doubles: int = 0
    failures: int = 0
    in_hand: int = 0
    """Messages that were received and are not dealt with yet."""
    slots_free: int = 0
    oldest_in_hand: float | None = None
    """When the first of them was sent (seconds since the epoch)."""
    empty_at: float = field(default_factory=time.time)
    """When the queue was last seen empty, or the relay started: SQS does not say how old what it keeps is."""
    last_failure: str = ""

    def oldest_age(self, now: float) -> float:
        """The longest that anything that waits can have waited, in seconds."""
        return max(0.0, now - (self.oldest_in_hand or self.empty_at))

    def as_document(self) -> dict[str, int]:
        """What was done, for `relay --json`."""
        return {"events": self.events, "files": self.files, "doubles": self.doubles, "failures": self.failures}


class Reporter:
    """Tells the figures, and asks the queue for its length when somebody wants to know."""

    def __init__(self, figures: Figures, backlog: Callable[[], int], now: Callable[[], float] = time.time) -> None:
        self._figures, self._backlog, self._now = figures, backlog, now
        self._said_of = (0, 0)

    def in_words(self) -> str:
        """One line: what waits, and what was announced since the line before."""
        figures = self._figures
        events, files = figures.events - self._said_of[0], figures.files - self._said_of[1]
        self._said_of = (figures.events, figures.files)
        waiting = self._waiting()
        backlog = "backlog unknown" if waiting is None else f"backlog {waiting} message(s)"
        oldest = f", the oldest up to {figures.oldest_age(self._now()):.0f} s old" if waiting else ""
        trouble = f"; last trouble: {figures.last_failure}" if figures.last_failure else ""
        figures.last_failure = ""
        return (
            f"{backlog}{oldest}; {events} event(s) with {files} file(s) sent since the last word; "
            f"{figures.slots_free} run(s) may begin{trouble}"
        )

    def for_prometheus(self) -> str:
        """The figures in Prometheus' text format, version 0.0.4."""
        figures, waiting = self._figures, self._waiting()
        age = figures.oldest_age(self._now()) if waiting else 0
        rows: list[tuple[str, str, str, float | None]] = [
            ("backlog_messages", "gauge", "Messages in the queue or in hand.", waiting),
            ("oldest_age_seconds", "gauge", "The longest that any of them can have waited.", age),
            ("slots_free", "gauge", "Runs that may begin, when last asked.", figures.slots_free),
            ("batches_total", "counter", "Events that Prefect has acknowledged.", figures.events),
            ("files_total", "counter", "Files that these events announced.", figures.files),
            ("doubles_total", "counter", "Announcements that were dropped as doubles.", figures.doubles),
            ("failures_total", "counter", "Times that SQS or Prefect could not be reached.", figures.failures),
        ]
        lines = [
            f"# HELP sensor_ingest_relay_{name} {text}\n"
            f"# TYPE sensor_ingest_relay_{name} {kind}\n"
            f"sensor_ingest_relay_{name} {value:g}\n"
            for name, kind, text, value in rows
            if value is not None
        ]
        return "".join(lines)

    def _waiting(self) -> int | None:
        try:
            return self._backlog() + self._figures.in_hand
        except Exception:  # noqa: BLE001 - the queue is away, which the relay says by itself
            return None


def say_every_minute(reporter: Reporter, stop: StopSignal, seconds: float = SAYS_EVERY_SECONDS) -> threading.Thread:
    """A thread that says a line every minute until a stop is asked for."""

    def say() -> None:
        while not stop.wait(seconds):
            log.info(reporter.in_words())

    thread = threading.Thread(target=say, name="words", daemon=True)
    thread.start()
    return thread


@contextmanager
def metrics_endpoint(reporter: Reporter, port: int) -> Iterator[str]:
    """The address, on loopback, under which Prometheus finds the figures; port 0 stands for any free one."""
    server = ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, reporter))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, reporter: Reporter, *request: object) -> None:
        self._reporter = reporter
        super().__init__(*request)  # type: ignore[arg-type] # handed through from socketserver

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        body = self._reporter.for_prometheus().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a scrape is no news."""
