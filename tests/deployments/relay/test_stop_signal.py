"""A stop interrupts a wait, and nothing else."""

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
    number: signal.Signals = request.param
    return number


@pytest.fixture
def handler(number: signal.Signals) -> Iterator[signal.Handlers]:
    """The handler of the signal before the test, which ignores it."""
    before = signal.signal(number, signal.SIG_IGN)
    yield signal.SIG_IGN
    signal.signal(number, before)


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    with StopSignal() as stop:
        yield stop


def test_a_signal_interrupts_an_interruptible_block(stop: StopSignal, number: signal.Signals) -> None:
    with pytest.raises(StopRequested), stop.interruptible():
        signal.raise_signal(number)


def test_a_signal_does_not_interrupt_other_code(stop: StopSignal, number: signal.Signals) -> None:
    signal.raise_signal(number)
    assert stop.requested


def test_an_interruptible_block_does_not_begin_after_a_stop_was_requested(stop: StopSignal) -> None:
    stop.request()
    with pytest.raises(StopRequested), stop.interruptible():
        pytest.fail("the block began")


def test_a_signal_does_not_interrupt_code_after_an_interruptible_block(
    stop: StopSignal, number: signal.Signals
) -> None:
    with stop.interruptible():
        pass
    signal.raise_signal(number)
    assert stop.requested


def test_a_wait_ends_when_a_stop_is_requested(stop: StopSignal) -> None:
    threading.Thread(target=stop.request).start()
    assert stop.wait()


def test_the_former_signal_handlers_are_restored(number: signal.Signals, handler: signal.Handlers) -> None:
    with StopSignal():
        assert handler != signal.getsignal(number)
    assert handler == signal.getsignal(number)


def test_a_signal_interrupts_a_long_poll_before_the_queue_answers(
    relay: Relay, stop: StopSignal, number: signal.Signals
) -> None:
    answers: list[object] = []

    def send_signal(**_: Any) -> None:  # noqa: ANN401 - botocore's own
        threading.Thread(target=os.kill, args=(os.getpid(), number)).start()

    events = relay.queue.sqs.meta.events
    events.register_first("before-send.sqs.ReceiveMessage", send_signal)
    events.register_first("after-call.sqs.ReceiveMessage", lambda **_: answers.append("an answer"), "answers")
    try:
        with pytest.raises(StopRequested):
            relay.relay_once(stop, wait_seconds=20)
    finally:
        events.unregister("before-send.sqs.ReceiveMessage", send_signal)
        events.unregister("after-call.sqs.ReceiveMessage", unique_id="answers")
    assert [] == answers
