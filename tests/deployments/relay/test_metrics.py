"""What the relay says about itself."""

import time
import urllib.error
import urllib.request

import pytest

from deployments.relay.metrics import Figures, Reporter, metrics_endpoint, say_every_minute
from deployments.relay.relay import Relay
from deployments.relay.stop_signal import StopSignal
from tests.deployments.relay.conftest import Announced, FreeRuns, Queue, event
from tests.support.waiting import eventually


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
        text: str = answer.read().decode()
    return text


def values(text: str) -> dict[str, float]:
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("sensor_ingest_relay_"): float(value) for name, value in rows}


def test_prometheus_finds_what_waits_and_what_went_on(relay: Relay, queue: Queue, runs: FreeRuns) -> None:
    queue.send(event("incoming/a.csv"), event("incoming/a.csv"), event("incoming/b.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    queue.send(event("incoming/c.csv"))
    relay.figures.empty_at = time.time() - 100
    with metrics_endpoint(relay.reporter(), 0) as url:
        found = values(read(url))
    assert 100 <= found.pop("oldest_age_seconds") < 160
    assert found == {
        "backlog_messages": 1,
        "slots_free": runs.free_now + 1,
        "batches_total": 1,
        "files_total": 2,
        "doubles_total": 1,
        "failures_total": 0,
    }


def test_messages_in_hand_wait_too(relay: Relay, queue: Queue, announced: Announced) -> None:
    found: list[dict[str, float]] = []
    announced.meanwhile = lambda: found.append(values(relay.reporter().for_prometheus()))
    queue.send(event("incoming/a.csv"), event("incoming/b.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    assert found[0]["backlog_messages"] >= 2
    assert found[0]["oldest_age_seconds"] < 60


def test_the_endpoint_is_on_loopback_and_shows_nothing_else(relay: Relay) -> None:
    with metrics_endpoint(relay.reporter(), 0) as url:
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read(url.replace("/metrics", "/"))


def test_a_queue_that_is_away_leaves_the_other_figures(relay: Relay) -> None:
    relay.queue.url = "http://127.0.0.1:9/nobody"
    found = values(relay.reporter().for_prometheus())
    assert "backlog_messages" not in found
    assert 0 == found["batches_total"]
    assert "backlog unknown" in relay.reporter().in_words()


def test_a_line_says_what_happened_since_the_line_before() -> None:
    figures = Figures(events=2, files=700, slots_free=1, last_failure="nobody answers", empty_at=1000)
    reporter = Reporter(figures, backlog=lambda: 12, now=lambda: 1090)
    assert reporter.in_words() == (
        "backlog 12 message(s), the oldest up to 90 s old; 2 event(s) with 700 file(s) sent since the last word; "
        "1 run(s) may begin; last trouble: nobody answers"
    )
    figures.events, figures.files = 3, 705
    assert reporter.in_words().endswith("1 event(s) with 5 file(s) sent since the last word; 1 run(s) may begin")


def test_lines_are_said_until_a_stop_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    stop = StopSignal()
    with caplog.at_level("INFO", "relay"):
        thread = say_every_minute(Reporter(Figures(), backlog=lambda: 0), stop, seconds=0.01)
        eventually(lambda: len(caplog.records) > 1, 60, "two lines")
        stop.request()
        thread.join(10)
    assert not thread.is_alive()
