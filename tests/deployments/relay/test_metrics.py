"""The metrics that the relay reports, to Prometheus and in the log."""

import socket
import time
import urllib.request
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployments.relay.metrics import RelayMetrics, RelayMonitor, metrics_endpoint, start_status_log
from deployments.relay.relay import Relay
from deployments.relay.stop_signal import StopSignal
from tests.deployments.relay.conftest import Announced, FakeSlots, Queue, event
from tests.support.waiting import eventually

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def read(url: str, accept: str = "text/plain", timeout_seconds: float = 30) -> str:
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 - loopback
        text: str = answer.read().decode()
    return text


def scrape(relay: Relay, timeout_seconds: float = 30) -> dict[str, float]:
    with metrics_endpoint(relay.monitor(), 0) as url:
        families = list(text_string_to_metric_families(read(url, timeout_seconds=timeout_seconds)))
    return {
        each.name.removeprefix("sensor_ingest_relay_"): each.value for family in families for each in family.samples
    }


def test_prometheus_reads_the_backlog_and_the_counters(relay: Relay, queue: Queue, slots: FakeSlots) -> None:
    queue.send(event("incoming/a.csv"), event("incoming/a.csv"), event("incoming/b.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    queue.send(event("incoming/c.csv"))
    relay.metrics.empty_at = time.time() - 100
    found = scrape(relay)
    assert 100 <= found.pop("oldest_age_seconds") < 160
    assert found == {
        "backlog_messages": 1,
        "slots_free": slots.free_now + 1,
        "batches_total": 1,
        "files_total": 2,
        "duplicates_total": 1,
        "due_files_total": 0,
        "failures_total": 0,
    }


def test_the_backlog_includes_messages_in_flight(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    found: list[dict[str, float]] = []
    announced.before_acknowledge = lambda: found.append(scrape(gathering_relay))
    long_queue.send(event("incoming/a.csv"), event("incoming/b.csv"))
    gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert 2 == found[0]["backlog_messages"]
    assert found[0]["oldest_age_seconds"] < 60


@pytest.mark.parametrize("accept", ["text/plain; version=0.0.4", OPEN_METRICS])
def test_counters_and_gauges_have_their_types_and_no_creation_times(relay: Relay, accept: str) -> None:
    with metrics_endpoint(relay.monitor(), 0) as url:
        text = read(url, accept)
    counter = "sensor_ingest_relay_files" if accept == OPEN_METRICS else "sensor_ingest_relay_files_total"
    assert f"# TYPE {counter} counter\nsensor_ingest_relay_files_total 0.0\n" in text
    assert "# TYPE sensor_ingest_relay_slots_free gauge\nsensor_ingest_relay_slots_free 0.0\n" in text
    assert "_created" not in text


def test_the_endpoint_listens_on_one_loopback_address_until_it_is_closed(relay: Relay) -> None:
    with metrics_endpoint(relay.monitor(), 0) as url:
        port = urlsplit(url).port
        assert f"http://127.0.0.1:{port}/metrics" == url
        with pytest.raises(OSError, match=r"(?i)refused|assign|timed out"):
            socket.create_connection(("127.0.0.2", port or 0), timeout=5)
        socket.create_connection(("127.0.0.1", port or 0), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), timeout=5)


def test_two_relays_in_one_process_have_metrics_of_their_own(relay: Relay, gathering_relay: Relay) -> None:
    relay.metrics.files, gathering_relay.metrics.files = 1, 2
    assert [1, 2] == [scrape(each)["files_total"] for each in (relay, gathering_relay)]


def test_a_queue_that_cannot_be_reached_leaves_the_other_series(relay: Relay) -> None:
    relay.queue.url = "http://127.0.0.1:9/nobody"
    counters = {"batches_total", "files_total", "duplicates_total", "due_files_total", "failures_total"}
    assert {"slots_free", *counters} == scrape(relay).keys()
    assert "backlog unknown" in relay.monitor().status_line()


@pytest.mark.usefixtures("deployed_system")
def test_a_queue_that_does_not_answer_delays_a_scrape_for_less_than_the_timeout_of_prometheus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{silent.getsockname()[1]}")
        found = scrape(Relay.of_stack(), timeout_seconds=10)
    assert "backlog_messages" not in found
    assert 0 == found["failures_total"]


def test_a_status_line_reports_what_was_announced_since_the_previous_one() -> None:
    metrics = RelayMetrics(events=2, files=700, slots_free=1, last_failure="connection refused", empty_at=1000)
    monitor = RelayMonitor(metrics, backlog=lambda: 12, now=lambda: 1090)
    assert monitor.status_line() == (
        "backlog 12 message(s), the oldest at most 90 s old; 2 event(s) with 700 file(s) sent since the last status; "
        "1 run slot(s) free; last failure: connection refused"
    )
    metrics.events, metrics.files = 3, 705
    assert monitor.status_line().endswith("1 event(s) with 5 file(s) sent since the last status; 1 run slot(s) free")


def test_status_lines_are_logged_until_a_stop_is_requested(caplog: pytest.LogCaptureFixture) -> None:
    stop = StopSignal()
    with caplog.at_level("INFO", "relay"):
        thread = start_status_log(RelayMonitor(RelayMetrics(), backlog=lambda: 0), stop, interval_seconds=0.01)
        eventually(lambda: len(caplog.records) > 1, 60, "two lines")
        stop.request()
        thread.join(10)
    assert not thread.is_alive()
