"""A stop ends what only waits, and nothing else."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.relay.relay import Relay
from deployments.relay.stop_signal import StopRequested, StopSignal


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest) -> signal.Signals:
    asked: signal.Signals = request.param
    return asked


@pytest.fixture
def handler(number: signal.Signals) -> Iterator[signal.Handlers]:
    """What the signal means before the test: to ignore it."""
    before = signal.signal(number, signal.SIG_IGN)
    yield signal.SIG_IGN
    signal.signal(number, before)


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    with StopSignal() as stop:
        yield stop


def test_a_wait_is_left_at_once(stop: StopSignal, number: signal.Signals) -> None:
    with pytest.raises(StopRequested), stop.at_once():
        signal.raise_signal(number)


def test_work_is_finished_first(stop: StopSignal, number: signal.Signals) -> None:
    signal.raise_signal(number)
    assert stop.requested


def test_no_wait_begins_after_a_stop_was_asked_for(stop: StopSignal) -> None:
    stop.request()
    with pytest.raises(StopRequested), stop.at_once():
        pytest.fail("the wait began")


def test_work_after_a_wait_is_finished_first(stop: StopSignal, number: signal.Signals) -> None:
    with stop.at_once():
        pass
    signal.raise_signal(number)
    assert stop.requested


def test_a_pause_ends_when_a_stop_is_asked_for(stop: StopSignal) -> None:
    threading.Thread(target=stop.request).start()
    assert stop.wait()


def test_signals_mean_afterwards_what_they_meant_before(number: signal.Signals, handler: signal.Handlers) -> None:
    with StopSignal():
        assert handler != signal.getsignal(number)
    assert handler == signal.getsignal(number)


def test_a_stop_ends_a_long_poll_before_the_queue_answers(
    relay: Relay, stop: StopSignal, number: signal.Signals
) -> None:
    answers: list[object] = []

    def ask_for_a_stop(**_: Any) -> None:  # noqa: ANN401 - botocore's own
        threading.Thread(target=os.kill, args=(os.getpid(), number)).start()

    events = relay.queue.sqs.meta.events
    events.register_first("before-send.sqs.ReceiveMessage", ask_for_a_stop)
    events.register_first("after-call.sqs.ReceiveMessage", lambda **_: answers.append("an answer"), "answers")
    try:
        with pytest.raises(StopRequested):
            relay.relay_once(stop, wait_seconds=20)
    finally:
        events.unregister("before-send.sqs.ReceiveMessage", ask_for_a_stop)
        events.unregister("after-call.sqs.ReceiveMessage", unique_id="answers")
    assert [] == answers
