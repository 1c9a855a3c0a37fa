"""The metrics of the relay and the length of its queue: a status line a minute, and series for Prometheus."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from deployments.relay.logger import log
from deployments.relay.stop_signal import StopSignal

STATUS_INTERVAL_SECONDS: Final = 60.0
LOOPBACK: Final = "127.0.0.1"


@dataclass
class RelayMetrics:
    """Written by the relay, read by other threads. The counters start at 0 with the relay."""

    events: int = 0
    files: int = 0
    duplicates: int = 0
    failures: int = 0
    due_files: int = 0
    in_flight: int = 0
    """Messages received and not yet deleted or released."""
    oldest_sent_at: float | None = None
    """When the oldest of them was sent (seconds since the epoch)."""
    empty_at: float = field(default_factory=time.time)
    """When a receive last returned no message, or the relay started: SQS does not report the age of its messages."""
    slots_free: int = 0
    last_failure: str = ""

    def oldest_age_seconds(self, now: float) -> float:
        """The upper limit of the age of the oldest message."""
        return max(0.0, now - (self.oldest_sent_at or self.empty_at))

    def as_document(self) -> dict[str, int]:
        """The counters, for `relay --json`."""
        return {name: getattr(self, name) for name in ("events", "files", "duplicates", "due_files", "failures")}


class RelayMonitor(Collector):
    """Reports the metrics of a relay; each report asks SQS for the length of the queue."""

    def __init__(self, metrics: RelayMetrics, backlog: Callable[[], int], now: Callable[[], float] = time.time) -> None:
        self._metrics, self._backlog, self._now = metrics, backlog, now
        self._reported_events = self._reported_files = 0

    def status_line(self) -> str:
        """The backlog, and what was announced since the previous status line."""
        metrics, waiting = self._metrics, self._messages_waiting()
        events, files = metrics.events - self._reported_events, metrics.files - self._reported_files
        self._reported_events, self._reported_files = metrics.events, metrics.files
        backlog = "backlog unknown" if waiting is None else f"backlog {waiting} message(s)"
        oldest = f", the oldest at most {metrics.oldest_age_seconds(self._now()):.0f} s old" if waiting else ""
        failure = f"; last failure: {metrics.last_failure}" if metrics.last_failure else ""
        metrics.last_failure = ""
        return (
            f"{backlog}{oldest}; {events} event(s) with {files} file(s) sent since the last status; "
            f"{metrics.slots_free} run slot(s) free{failure}"
        )

    def collect(self) -> Iterator[Metric]:
        """The series of one scrape. While SQS cannot be reached, the two about the queue are absent."""
        metrics, waiting = self._metrics, self._messages_waiting()
        gauges: list[tuple[str, str, float]] = [
            ("slots_free", "Runs that could start at once, when last counted.", metrics.slots_free)
        ]
        if waiting is not None:
            age = metrics.oldest_age_seconds(self._now()) if waiting else 0
            gauges.append(("backlog_messages", "Messages in the queue or in flight.", waiting))
            gauges.append(("oldest_age_seconds", "Upper limit of the age of the oldest of these messages.", age))
        counters = [
            ("batches_total", "Events that Prefect has acknowledged.", metrics.events),
            ("files_total", "Files that these events announced.", metrics.files),
            ("duplicates_total", "Announcements dropped as duplicates.", metrics.duplicates),
            (
                "due_files_total",
                "Files announced again, as no run had claimed them or their load had ended early.",
                metrics.due_files,
            ),
            ("failures_total", "Failed attempts to reach SQS, Prefect or the ledger.", metrics.failures),
        ]
        yield from (GaugeMetricFamily(f"sensor_ingest_relay_{name}", text, value) for name, text, value in gauges)
        yield from (CounterMetricFamily(f"sensor_ingest_relay_{name}", text, value) for name, text, value in counters)

    def _messages_waiting(self) -> int | None:
        try:
            return self._backlog() + self._metrics.in_flight
        except Exception:  # noqa: BLE001 - SQS fails in many ways; the relay itself logs that it cannot be reached
            return None


def start_status_log(
    monitor: RelayMonitor, stop: StopSignal, interval_seconds: float = STATUS_INTERVAL_SECONDS
) -> threading.Thread:
    """The thread that logs a status line at each interval until a stop is requested."""

    def log_status() -> None:
        while not stop.wait(interval_seconds):
            log.info(monitor.status_line())

    thread = threading.Thread(target=log_status, name="status log", daemon=True)
    thread.start()
    return thread


@contextmanager
def metrics_endpoint(monitor: RelayMonitor, port: int) -> Iterator[str]:
    """The URL, on loopback, that Prometheus scrapes; port 0 selects a free port."""
    registry = CollectorRegistry()
    registry.register(monitor)
    server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
