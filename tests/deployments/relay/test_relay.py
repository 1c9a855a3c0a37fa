"""Nothing that arrives is lost between the queue and the Prefect server, and nothing of it is announced for nothing."""

import pytest

from blocks.domain.limits import FILES_PER_EVENT
from deployments.relay.relay import Pace, Relay
from deployments.relay.sqs_queue import ArrivalQueue
from deployments.relay.stop_signal import StopRequested, StopSignal
from tests.deployments.relay.conftest import (
    NO_WAITS,
    RECEIVED_AT_MOST,
    Announced,
    FreeRuns,
    Queue,
    event,
    notification,
    relay_of,
    unversioned,
)


class ServerAwayError(Exception):
    """What a Prefect server that does not answer makes of an announcement."""


def away(*_: object) -> None:
    raise ServerAwayError


def events(count: int) -> list[str]:
    return [event(f"incoming/{number}.csv") for number in range(count)]


# ---- One batch ----------------------------------------------------------------------------------------------------


def test_files_that_arrived_together_are_announced_together(relay: Relay, queue: Queue, announced: Announced) -> None:
    queue.send(event("incoming/a.csv"), event("incoming/b c+d%20.csv"), event("incoming/é.csv"))
    assert 3 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/b c+d%20.csv", "incoming/é.csv"]] == announced.events


def test_an_empty_queue_is_announced_to_nobody(relay: Relay, announced: Announced) -> None:
    assert 0 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [] == announced.events


def test_a_message_is_in_the_queue_until_the_server_has_acknowledged_the_event(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    in_queue: list[int] = []
    announced.meanwhile = lambda: in_queue.append(queue.messages)
    queue.send(event("incoming/a.csv"), event("incoming/b.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    assert [2] == in_queue
    assert 0 == queue.messages


def test_nothing_is_taken_from_the_queue_while_prefect_can_not_be_reached(
    relay: Relay, queue: Queue, runs: FreeRuns
) -> None:
    queue.send(event("incoming/a.csv"))
    runs.meanwhile = away
    for _ in range(RECEIVED_AT_MOST + 1):
        with pytest.raises(ServerAwayError):
            relay.relay_once(StopSignal(), wait_seconds=0)
    runs.meanwhile = lambda _: None
    assert 1 == relay.relay_once(StopSignal(), wait_seconds=0)


def test_what_announces_no_file_leaves_the_queue_in_silence(relay: Relay, queue: Queue, announced: Announced) -> None:
    queue.send('{"Event": "s3:TestEvent"}', event("incoming/2026/"), event("incoming/a.csv", kind="Object Deleted"))
    assert 0 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [] == announced.events
    assert 0 == queue.messages


def test_nonsense_is_left_to_the_dead_letters_and_holds_up_nobody(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    queue.send("[" * 100_000, event("incoming/a.csv"), "hello")
    for _ in range(RECEIVED_AT_MOST + 1):
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] == announced.events
    assert {"[" * 100_000, "hello"} == set(queue.dead_letters)
    assert 0 == queue.messages


# ---- Doubles ------------------------------------------------------------------------------------------------------


def test_a_version_that_is_announced_to_the_relay_twice_goes_on_once(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    queue.send(event("incoming/a.csv", "v1"), event("incoming/a.csv", "v2"), event("incoming/a.csv", "v1"))
    assert 2 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


def test_a_version_that_went_on_before_is_dropped(relay: Relay, queue: Queue, announced: Announced) -> None:
    for version in ("v1", "v1", "v2"):
        queue.send(event("incoming/a.csv", version))
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] * 2 == announced.events
    assert 0 == queue.messages
    assert 1 == relay.figures.doubles


def test_the_same_bytes_dropped_again_into_a_bucket_without_versions_are_announced_again(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    for sequencer in ("0A", "0B", "0B"):
        queue.send(unversioned("incoming/a.csv", sequencer))
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] * 2 == announced.events


# ---- Many files ---------------------------------------------------------------------------------------------------


def test_files_that_keep_coming_go_together(gathering_relay: Relay, long_queue: Queue, announced: Announced) -> None:
    long_queue.send(*events(35))
    assert 35 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [35] == [len(files) for files in announced.events]
    assert 0 == long_queue.messages


def test_a_file_that_arrives_while_the_relay_looks_again_goes_along(
    long_queue: Queue, announced: Announced, runs: FreeRuns
) -> None:
    relay = relay_of(long_queue, announced, runs, NO_WAITS)
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


def test_an_event_carries_no_more_files_than_a_run_takes(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    keys = [f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 100)]
    long_queue.send(notification(keys))
    gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [FILES_PER_EVENT, 100] == [len(files) for files in announced.events]
    assert keys == [key for files in announced.events for key in files]
    assert 0 == long_queue.messages


def test_a_batch_that_is_full_takes_nothing_more_from_the_queue(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    long_queue.send(*events(FILES_PER_EVENT + 10))
    assert FILES_PER_EVENT == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert 10 == long_queue.visible
    assert 1 == len(announced.events)


def test_a_queue_that_never_runs_empty_does_not_put_off_the_announcement(
    long_queue: Queue, announced: Announced, runs: FreeRuns
) -> None:
    long_queue.send(*[event("incoming/a.csv")] * 100)
    seconds = iter(range(1000))
    relay = relay_of(long_queue, announced, runs, Pace(look_again=0, linger=0, longest_linger=5))
    relay.queue = ArrivalQueue(long_queue.sqs, long_queue.url, now=lambda: next(seconds))
    assert 1 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert 0 < long_queue.visible < 100


# ---- While all runs are busy --------------------------------------------------------------------------------------


def test_while_no_run_may_begin_messages_wait_in_the_queue_and_then_go_together(
    gathering_relay: Relay, long_queue: Queue, announced: Announced, runs: FreeRuns
) -> None:
    runs.free_now = 0
    for number in range(3):
        long_queue.send(event(f"incoming/{number}.csv"))
        assert 0 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert 3 == long_queue.visible
    runs.free_now = 1
    gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/0.csv", "incoming/1.csv", "incoming/2.csv"]] == announced.events


def test_the_second_event_of_a_batch_waits_for_a_run_of_its_own_and_its_messages_are_kept(
    long_queue: Queue, announced: Announced, runs: FreeRuns
) -> None:
    hidden: list[int] = []
    seconds = iter(range(0, 100_000, 31))
    relay = relay_of(long_queue, announced, runs, NO_WAITS)
    relay.queue = ArrivalQueue(long_queue.sqs, long_queue.url, now=lambda: next(seconds))
    runs.free_now = 1

    def a_run_ends(asked: int) -> None:
        hidden.append(len(announced.events))
        if asked == 6:
            runs.free_now = 1

    runs.meanwhile = a_run_ends
    kept: list[str] = []
    long_queue.sqs.meta.events.register(
        "before-call.sqs.ChangeMessageVisibilityBatch", lambda **_: kept.append("kept"), "kept"
    )
    long_queue.send(notification([f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 1)]))
    try:
        relay.relay_once(StopSignal(), wait_seconds=0)
    finally:
        long_queue.sqs.meta.events.unregister("before-call.sqs.ChangeMessageVisibilityBatch", unique_id="kept")
    assert [0, 0, 1, 1, 1, 1] == hidden
    assert ["kept"] * 3 == kept
    assert [FILES_PER_EVENT, 1] == [len(files) for files in announced.events]
    assert 0 == long_queue.messages


# ---- For as long as it runs ---------------------------------------------------------------------------------------


def test_a_server_that_was_away_is_told_when_it_is_back_without_another_look_into_the_queue(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    tries = iter(range(RECEIVED_AT_MOST + 2))
    announced.meanwhile = lambda: away() if next(tries, None) is not None else None
    long_queue.send(event("incoming/a.csv"))
    assert 1 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] == announced.events
    assert 0 == long_queue.messages


def test_a_queue_that_was_away_is_read_when_it_is_back(
    relay: Relay, queue: Queue, announced: Announced, caplog: pytest.LogCaptureFixture
) -> None:
    stop = StopSignal()
    url, relay.queue.url = relay.queue.url, "http://127.0.0.1:9/nobody"
    relay.slots.meanwhile = lambda asked: setattr(relay.queue, "url", url) if asked == 3 else None  # type: ignore[attr-defined] # FreeRuns
    announced.meanwhile = stop.request
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [["incoming/a.csv"]] == announced.events
    assert 2 == sum("trying again in 0 s" in record.message for record in caplog.records)


def test_what_is_in_hand_when_a_stop_is_asked_for_is_dealt_with(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()
    announced.meanwhile = stop.request
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [["incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


def test_what_is_in_hand_goes_back_at_once_when_a_stop_is_asked_for_while_prefect_is_away(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()

    def stopped_and_away() -> None:
        stop.request()
        away()

    announced.meanwhile = stopped_and_away
    long_queue.send(*events(12))
    gathering_relay.run(stop)
    assert [] == announced.events
    assert 12 == long_queue.visible


def test_what_waits_for_a_run_goes_back_at_once_when_a_stop_is_asked_for(
    gathering_relay: Relay, long_queue: Queue, announced: Announced, runs: FreeRuns
) -> None:
    stop = StopSignal()
    runs.free_now = 1
    runs.meanwhile = lambda asked: stop.request() if asked == 3 else None
    long_queue.send(notification([f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 1)]))
    with pytest.raises(StopRequested):
        gathering_relay.relay_once(stop, wait_seconds=0)
    assert [FILES_PER_EVENT] == [len(files) for files in announced.events]
    assert 1 == long_queue.visible


def test_a_relay_that_is_stopped_before_it_starts_takes_nothing_off_the_queue(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()
    stop.request()
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [] == announced.events
    assert 1 == queue.messages


def test_two_relays_at_the_same_queue_announce_each_file_once(
    long_queue: Queue, announced: Announced, runs: FreeRuns
) -> None:
    one, other = (relay_of(long_queue, announced, runs, NO_WAITS) for _ in range(2))
    messages = events(25)
    long_queue.send(*messages[:20])

    def more_arrive_and_the_other_relay_looks() -> None:
        announced.meanwhile = lambda: None
        long_queue.send(*messages[20:])
        other.relay_once(StopSignal(), wait_seconds=0)

    announced.meanwhile = more_arrive_and_the_other_relay_looks
    one.relay_once(StopSignal(), wait_seconds=0)
    assert [5, 20] == [len(files) for files in announced.events]
    assert {f"incoming/{number}.csv" for number in range(25)} == {key for files in announced.events for key in files}
    assert 0 == long_queue.messages
