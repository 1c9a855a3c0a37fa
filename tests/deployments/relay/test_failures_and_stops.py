"""Each file is announced once also after failures and stops, and with a second relay."""

import pytest

from blocks.domain.limits import FILES_PER_EVENT
from deployments.relay.relay import Relay
from deployments.relay.stop_signal import StopRequested, StopSignal
from tests.deployments.relay.conftest import (
    MAX_RECEIVES,
    UNTIL_EMPTY,
    Announced,
    FakeSlots,
    Queue,
    away,
    event,
    events,
    notification,
    relay_of,
)


def test_a_failed_announcement_is_repeated_without_another_receive(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    failures = iter(range(MAX_RECEIVES + 2))
    announced.before_acknowledge = lambda: away() if next(failures, None) is not None else None
    long_queue.send(event("incoming/a.csv"))
    assert 1 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] == announced.events
    assert 0 == long_queue.messages


def test_a_queue_that_cannot_be_reached_is_tried_again(
    relay: Relay, queue: Queue, announced: Announced, caplog: pytest.LogCaptureFixture
) -> None:
    stop = StopSignal()
    url, relay.queue.url = relay.queue.url, "http://127.0.0.1:9/nobody"
    relay.slots.on_count = lambda count: setattr(relay.queue, "url", url) if count == 3 else None  # type: ignore[attr-defined] # FakeSlots
    announced.before_acknowledge = stop.request
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [["incoming/a.csv"]] == announced.events
    assert 2 == sum("next attempt in 0 s" in record.message for record in caplog.records)


def test_messages_in_flight_when_a_stop_is_requested_are_announced_and_deleted(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()
    announced.before_acknowledge = stop.request
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [["incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


def test_messages_in_flight_are_released_when_a_stop_is_requested_while_prefect_is_away(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()

    def stopped_and_away() -> None:
        stop.request()
        away()

    announced.before_acknowledge = stopped_and_away
    long_queue.send(*events(12))
    gathering_relay.run(stop)
    assert [] == announced.events
    assert 12 == long_queue.visible


def test_messages_that_wait_for_a_slot_are_released_when_a_stop_is_requested(
    gathering_relay: Relay, long_queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    stop = StopSignal()
    slots.free_now = 1
    slots.on_count = lambda count: stop.request() if count == 3 else None
    long_queue.send(notification([f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 1)]))
    with pytest.raises(StopRequested):
        gathering_relay.relay_once(stop, wait_seconds=0)
    assert [FILES_PER_EVENT] == [len(files) for files in announced.events]
    assert 1 == long_queue.visible


def test_a_relay_that_is_stopped_before_it_starts_receives_nothing(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()
    stop.request()
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [] == announced.events
    assert 1 == queue.messages


def test_two_relays_on_one_queue_announce_each_file_once(
    long_queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    one, other = (relay_of(long_queue, announced, slots, UNTIL_EMPTY) for _ in range(2))
    messages = events(25)
    long_queue.send(*messages[:20])

    def more_files_arrive_and_the_other_relay_receives_them() -> None:
        announced.before_acknowledge = lambda: None
        long_queue.send(*messages[20:])
        other.relay_once(StopSignal(), wait_seconds=0)

    announced.before_acknowledge = more_files_arrive_and_the_other_relay_receives_them
    one.relay_once(StopSignal(), wait_seconds=0)
    assert [5, 20] == [len(files) for files in announced.events]
    assert {f"incoming/{number}.csv" for number in range(25)} == {key for files in announced.events for key in files}
    assert 0 == long_queue.messages
