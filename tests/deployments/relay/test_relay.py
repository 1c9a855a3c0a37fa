"""Each file that the queue announces is announced to Prefect once."""

import pytest

from blocks.domain.limits import FILES_PER_EVENT
from deployments.relay.relay import Relay
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.stop_signal import StopSignal
from deployments.relay.timings import Timings
from tests.deployments.relay.conftest import (
    MAX_RECEIVES,
    UNTIL_EMPTY,
    Announced,
    FakeSlots,
    Queue,
    ServerAwayError,
    away,
    event,
    events,
    notification,
    relay_of,
    unversioned,
)

# ---- One batch ------------------------------------------------------------------------------------------------------


def test_files_that_arrived_together_are_announced_together(relay: Relay, queue: Queue, announced: Announced) -> None:
    queue.send(event("incoming/a.csv"), event("incoming/b c+d%20.csv"), event("incoming/é.csv"))
    assert 3 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/b c+d%20.csv", "incoming/é.csv"]] == announced.events


def test_an_empty_queue_sends_no_event(relay: Relay, announced: Announced) -> None:
    assert 0 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [] == announced.events


def test_a_message_is_in_the_queue_until_the_server_has_acknowledged_the_event(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    in_queue: list[int] = []
    announced.before_acknowledge = lambda: in_queue.append(queue.messages)
    queue.send(event("incoming/a.csv"), event("incoming/b.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    assert [2] == in_queue
    assert 0 == queue.messages


def test_no_message_is_received_while_prefect_cannot_be_reached(relay: Relay, queue: Queue, slots: FakeSlots) -> None:
    queue.send(event("incoming/a.csv"))
    slots.on_count = away
    for _ in range(MAX_RECEIVES + 1):
        with pytest.raises(ServerAwayError):
            relay.relay_once(StopSignal(), wait_seconds=0)
    slots.on_count = lambda _: None
    assert 1 == relay.relay_once(StopSignal(), wait_seconds=0)


def test_a_message_that_announces_no_file_is_deleted_without_an_event(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    queue.send('{"Event": "s3:TestEvent"}', event("incoming/2026/"), event("incoming/a.csv", kind="Object Deleted"))
    assert 0 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [] == announced.events
    assert 0 == queue.messages


def test_messages_of_no_known_format_become_dead_letters_and_delay_no_others(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    queue.send("[" * 100_000, event("incoming/a.csv"), "hello")
    for _ in range(MAX_RECEIVES + 1):
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] == announced.events
    assert {"[" * 100_000, "hello"} == set(queue.dead_letters)
    assert 0 == queue.messages


# ---- Duplicates -----------------------------------------------------------------------------------------------------


def test_a_version_that_a_batch_announces_twice_is_in_the_event_once(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    queue.send(event("incoming/a.csv", "v1"), event("incoming/a.csv", "v2"), event("incoming/a.csv", "v1"))
    assert 2 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


def test_a_version_that_an_earlier_event_announced_is_dropped(relay: Relay, queue: Queue, announced: Announced) -> None:
    for version in ("v1", "v1", "v2"):
        queue.send(event("incoming/a.csv", version))
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] * 2 == announced.events
    assert 0 == queue.messages
    assert 1 == relay.metrics.duplicates


def test_the_same_content_uploaded_again_without_versioning_is_announced_again(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    for sequencer in ("0A", "0B", "0B"):
        queue.send(unversioned("incoming/a.csv", sequencer))
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] * 2 == announced.events


# ---- Many files -----------------------------------------------------------------------------------------------------


def test_files_that_keep_arriving_are_announced_in_one_event(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    long_queue.send(*events(35))
    assert 35 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [35] == [len(files) for files in announced.events]
    assert 0 == long_queue.messages


def test_a_file_that_the_second_receive_returns_is_in_the_same_event(
    long_queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    relay = relay_of(long_queue, announced, slots, UNTIL_EMPTY)
    answers = iter([[event("incoming/b.csv")], []])
    long_queue.send(event("incoming/a.csv"))
    receive = relay.queue.receive

    def receive_and_send(stop: StopSignal, wait_seconds: int) -> list[object]:
        messages = receive(stop, wait_seconds)
        long_queue.send(*next(answers, []))
        return messages  # type: ignore[return-value] # as it is

    relay.queue.receive = receive_and_send  # type: ignore[assignment,method-assign]
    assert 2 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/b.csv"]] == announced.events


def test_an_event_has_no_more_files_than_its_limit(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    keys = [f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 100)]
    long_queue.send(notification(keys))
    gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [FILES_PER_EVENT, 100] == [len(files) for files in announced.events]
    assert keys == [key for files in announced.events for key in files]
    assert 0 == long_queue.messages


def test_a_full_batch_leaves_the_other_messages_in_the_queue(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    long_queue.send(*events(FILES_PER_EVENT + 10))
    assert FILES_PER_EVENT == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert 10 == long_queue.visible
    assert 1 == len(announced.events)


def test_a_queue_that_is_never_empty_does_not_delay_the_event(
    long_queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    long_queue.send(*[event("incoming/a.csv")] * 100)
    seconds = iter(range(1000))
    relay = relay_of(
        long_queue,
        announced,
        slots,
        Timings(second_receive_after_seconds=0, batch_quiet_seconds=0, batch_max_seconds=5),
    )
    relay.queue = SqsQueue(long_queue.sqs, long_queue.url, now=lambda: next(seconds))
    assert 1 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert 0 < long_queue.visible < 100


# ---- While no run slot is free --------------------------------------------------------------------------------------


def test_while_no_slot_is_free_messages_wait_in_the_queue_and_are_then_announced_in_one_event(
    gathering_relay: Relay, long_queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    slots.free_now = 0
    for number in range(3):
        long_queue.send(event(f"incoming/{number}.csv"))
        assert 0 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert 3 == long_queue.visible
    slots.free_now = 1
    gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/0.csv", "incoming/1.csv", "incoming/2.csv"]] == announced.events


def test_the_second_event_of_a_batch_waits_for_another_slot_and_its_messages_stay_hidden(
    long_queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    events_at_count: list[int] = []
    seconds = iter(range(0, 100_000, 31))
    relay = relay_of(long_queue, announced, slots, UNTIL_EMPTY)
    relay.queue = SqsQueue(long_queue.sqs, long_queue.url, now=lambda: next(seconds))
    slots.free_now = 1

    def a_run_ends(count: int) -> None:
        events_at_count.append(len(announced.events))
        if count == 6:
            slots.free_now = 1

    slots.on_count = a_run_ends
    extensions: list[str] = []
    long_queue.sqs.meta.events.register(
        "before-call.sqs.ChangeMessageVisibilityBatch", lambda **_: extensions.append("extended"), "test"
    )
    long_queue.send(notification([f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 1)]))
    try:
        relay.relay_once(StopSignal(), wait_seconds=0)
    finally:
        long_queue.sqs.meta.events.unregister("before-call.sqs.ChangeMessageVisibilityBatch", unique_id="test")
    assert [0, 0, 1, 1, 1, 1] == events_at_count
    assert ["extended"] * 3 == extensions
    assert [FILES_PER_EVENT, 1] == [len(files) for files in announced.events]
    assert 0 == long_queue.messages
