"""Nothing that arrives is lost between the queue and the Prefect server, and nothing of it is announced for nothing."""

from dataclasses import replace

import pytest

from deployments.relay import Relay
from deployments.stopping import StopSignal
from flows.limits import FILES_PER_EVENT
from tests.relay.conftest import PREFIX, RECEIVED_AT_MOST, Announced, Queue, event, notification


class ServerAwayError(Exception):
    """What a Prefect server that does not answer makes of an announcement."""


def away() -> None:
    raise ServerAwayError


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


def test_a_message_stays_in_the_queue_if_the_server_does_not_acknowledge(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    announced.meanwhile = away
    queue.send(event("incoming/a.csv"))
    with pytest.raises(ServerAwayError):
        relay.relay_once(StopSignal(), wait_seconds=0)
    assert 1 == queue.messages


def test_nothing_is_taken_from_the_queue_while_prefect_can_not_be_reached(relay: Relay, queue: Queue) -> None:
    queue.send(event("incoming/a.csv"))
    cut_off = replace(relay, reach_prefect=away)
    for _ in range(RECEIVED_AT_MOST + 1):
        with pytest.raises(ServerAwayError):
            cut_off.relay_once(StopSignal(), wait_seconds=0)
    assert 1 == relay.relay_once(StopSignal(), wait_seconds=0)


def test_a_version_that_is_announced_to_the_relay_twice_goes_on_once(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    queue.send(event("incoming/a.csv", "v1"), event("incoming/a.csv", "v2"), event("incoming/a.csv", "v1"))
    assert 2 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


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


# ---- Many files ---------------------------------------------------------------------------------------------------


def test_an_event_carries_no_more_files_than_a_run_takes(long_queue: Queue, announced: Announced) -> None:
    keys = [f"incoming/{number}.csv" for number in range(FILES_PER_EVENT + 100)]
    long_queue.send(*(notification(keys[start : start + 40]) for start in range(0, len(keys), 40)))
    Relay(long_queue.sqs, long_queue.url, PREFIX, announced).relay_once(StopSignal(), wait_seconds=0)
    assert [FILES_PER_EVENT, 100] == [len(files) for files in announced.events]
    assert keys == [key for files in announced.events for key in files]
    assert 0 == long_queue.messages


def test_a_queue_that_never_runs_empty_does_not_put_off_the_announcement(
    long_queue: Queue, announced: Announced
) -> None:
    long_queue.send(*[event("incoming/a.csv")] * (FILES_PER_EVENT + 10))
    relay = Relay(long_queue.sqs, long_queue.url, PREFIX, announced)
    assert 1 == relay.relay_once(StopSignal(), wait_seconds=0)
    assert 10 == long_queue.messages


# ---- For as long as it runs ---------------------------------------------------------------------------------------


def test_a_server_that_was_away_is_told_when_it_is_back(relay: Relay, queue: Queue, announced: Announced) -> None:
    stop = StopSignal()
    answers = iter([away, stop.request])

    def answer() -> None:
        next(answers)()

    announced.meanwhile = answer
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [["incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


def test_what_is_in_hand_when_a_stop_is_asked_for_is_dealt_with(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()
    announced.meanwhile = stop.request
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [["incoming/a.csv"]] == announced.events
    assert 0 == queue.messages


def test_a_relay_that_is_stopped_before_it_starts_takes_nothing_off_the_queue(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    stop = StopSignal()
    stop.request()
    queue.send(event("incoming/a.csv"))
    relay.run(stop)
    assert [] == announced.events
    assert 1 == queue.messages
