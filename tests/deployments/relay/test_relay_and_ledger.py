"""Files are expected in the ledger before they are announced, and those that are due are announced again."""

from dataclasses import replace
from typing import Any

from blocks.file_ledger.claim_rules import Claim
from blocks.file_ledger.due import DueFile
from deployments.relay.relay import Relay
from deployments.relay.stop_signal import StopSignal
from tests.deployments.relay.conftest import (
    MAX_RECEIVES,
    Announced,
    FakeLedger,
    FakeSlots,
    Queue,
    event,
)


def ledger_of(relay: Relay) -> FakeLedger:
    ledger: Any = relay.ledger()
    assert isinstance(ledger, FakeLedger)
    return ledger


def test_a_file_is_expected_in_the_ledger_before_it_is_announced(
    relay: Relay, queue: Queue, announced: Announced
) -> None:
    expected = ledger_of(relay).expected
    before: list[list[str]] = []
    announced.before_acknowledge = lambda: before.extend(expected)
    queue.send(event("incoming/a.csv"), event("incoming/b.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv", "incoming/b.csv"]] == before == announced.events


def test_while_the_ledger_is_away_messages_stay_in_flight(
    gathering_relay: Relay, long_queue: Queue, announced: Announced
) -> None:
    ledger_of(gathering_relay).fails = MAX_RECEIVES + 1
    long_queue.send(event("incoming/a.csv"))
    assert 1 == gathering_relay.relay_once(StopSignal(), wait_seconds=0)
    assert [["incoming/a.csv"]] == announced.events
    assert MAX_RECEIVES + 1 == gathering_relay.metrics.failures


def test_due_files_are_announced_as_a_new_event_and_expected_again(relay: Relay, announced: Announced) -> None:
    ledger_of(relay).due = [DueFile(Claim("landing", f"incoming/{name}.csv"), None) for name in "ab"]
    for _ in range(2):
        relay.take_up_due_files()
    assert [["incoming/a.csv", "incoming/b.csv"]] * 2 == announced.events == ledger_of(relay).expected
    assert 2 == len(set(announced.occasions) - {""})
    assert 4 == relay.metrics.due_files


def test_due_files_and_those_of_the_queue_share_the_run_slots(
    relay: Relay, queue: Queue, announced: Announced, slots: FakeSlots
) -> None:
    slots.free_now = 1
    ledger_of(relay).due = [DueFile(Claim("landing", "incoming/due.csv"), None)]
    queue.send(event("incoming/a.csv"))
    relay.relay_once(StopSignal(), wait_seconds=0)
    relay.take_up_due_files()
    assert [["incoming/a.csv"]] == announced.events
    slots.free_now = 1
    relay.take_up_due_files()
    assert [["incoming/a.csv"], ["incoming/due.csv"]] == announced.events


def test_while_the_queue_is_empty_another_thread_announces_due_files(relay: Relay, announced: Announced) -> None:
    stop = StopSignal()
    relay.timings = replace(relay.timings, due_look_seconds=0.01)

    def long_poll(stop: StopSignal, wait_seconds: int) -> list[Any]:
        if not stop.wait(wait_seconds):
            stop.request()  # in vain
        return []

    relay.queue.receive = long_poll  # type: ignore[method-assign]
    ledger_of(relay).due = [DueFile(Claim("landing", "incoming/due.csv"), None)]
    announced.before_acknowledge = stop.request
    relay.run(stop)
    assert ["incoming/due.csv"] in announced.events
