"""The table's time: bounds that hold whatever the worker's clock says."""

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from blocks.file_ledger import FileLedger
from blocks.file_ledger.table_clock import TableClock
from blocks.runtime import Runtime, installed
from tests.blocks.conftest import Line, refusal
from tests.blocks.ledger_entries import FILE

DATE = datetime(2026, 11, 22, 20, 0, 5, tzinfo=UTC)
HEADERS = {"date": "Sun, 22 Nov 2026 20:00:05 GMT"}


class Machine(Runtime):
    """A machine whose clocks the test sets."""

    seconds = 100.0
    time = datetime(2020, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def utc_now(self) -> datetime:
        return self.time


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    with installed(machine):
        yield machine


def bounds(clock: TableClock) -> tuple[float, float]:
    """Seconds after `DATE`."""
    return (clock.earliest() - DATE).total_seconds(), (clock.latest() - DATE).total_seconds()


def test_the_time_is_between_the_begin_of_the_second_and_its_end_with_the_way_of_the_answer(machine: Machine) -> None:
    clock = TableClock()
    machine.seconds = 103.5
    clock.answered(HEADERS, sent_at=103.0)
    assert (0, 1.501) == bounds(clock)
    machine.seconds += 10
    assert (10, 11.501) == bounds(clock)


@pytest.mark.parametrize("sent_at", [0, 0.25, 0.5])
@pytest.mark.parametrize("fraction", [0, 0.4, 0.999])
@pytest.mark.parametrize("way_back", [0, 0.3])
def test_the_true_time_is_within_the_bounds(machine: Machine, sent_at: float, fraction: float, way_back: float) -> None:
    """The table answers between sending and answer, and cuts the fraction of its second."""
    clock = TableClock()
    machine.seconds = sent_at + way_back
    clock.answered(HEADERS, sent_at)
    machine.seconds += 7
    low, high = bounds(clock)
    for answered_at in (sent_at, sent_at + way_back):
        true = fraction + machine.seconds - answered_at
        assert low - 0.001 <= true <= high


def test_the_last_answer_counts(machine: Machine) -> None:
    clock = TableClock()
    clock.answered(HEADERS, sent_at=100.0)
    machine.seconds = 150
    clock.answered({"date": "Sun, 22 Nov 2026 20:00:25 GMT"}, sent_at=150.0)
    assert (20, 21.001) == bounds(clock)


def test_the_time_does_not_go_back_within_a_second(machine: Machine) -> None:
    """What was due before an answer is due after it: a date has no fraction of a second."""
    clock = TableClock()
    clock.answered(HEADERS, sent_at=100.0)
    machine.seconds += 0.75
    clock.answered(HEADERS, sent_at=100.7)
    assert (0.75, 1.051) == bounds(clock)
    machine.seconds += 0.125
    clock.answered(HEADERS, sent_at=100.8)
    assert 0.875 == bounds(clock)[0]


def test_a_table_whose_clock_was_set_back_is_believed(machine: Machine) -> None:
    clock = TableClock()
    clock.answered(HEADERS, sent_at=100.0)
    machine.seconds += 30
    clock.answered(HEADERS, sent_at=130.0)
    assert (0, 1.001) == bounds(clock)


def test_an_answer_without_a_date_changes_nothing(machine: Machine) -> None:
    clock = TableClock()
    clock.answered({}, sent_at=100.0)
    assert not clock.is_set
    clock.answered(HEADERS, sent_at=100.0)
    clock.answered({}, sent_at=100.0)
    machine.seconds += 1
    assert (1, 2.001) == bounds(clock)


def test_until_the_table_has_answered_the_time_is_that_of_the_machine_in_milliseconds(machine: Machine) -> None:
    clock = TableClock()
    expected = machine.time.replace(microsecond=123_000)
    assert (expected, expected, False) == (clock.earliest(), clock.latest(), clock.is_set)


def test_times_are_whole_milliseconds(machine: Machine) -> None:
    clock = TableClock()
    clock.answered(HEADERS, sent_at=100.0)
    machine.seconds += 0.1234567
    assert {123_000, 124_000} == {clock.earliest().microsecond, clock.latest().microsecond}


def test_another_process_does_not_take_over_a_reading_of_a_clock_that_it_does_not_have(machine: Machine) -> None:
    clock = TableClock()
    clock.answered(HEADERS, sent_at=100.0)
    assert machine.seconds
    assert not pickle.loads(pickle.dumps(clock)).is_set  # noqa: S301 - as Prefect sends it to a shard


def test_every_answer_of_the_table_sets_the_clock(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    before = datetime.now(UTC)
    file_ledger.claim_of("landing", FILE.key)
    clock = file_ledger._clock  # noqa: SLF001 - the seam
    assert clock.is_set
    assert clock.earliest() - timedelta(seconds=2) < before < clock.latest()
    fresh = FileLedger(table_name=file_ledger.table_name, credentials=file_ledger.credentials)
    with (
        dynamodb_line.answering("BatchGetItem", refusal(400, "ValidationException")),
        pytest.raises(Exception, match="no"),
    ):
        fresh.claim_of("landing", FILE.key)
    assert not fresh._clock.is_set  # noqa: SLF001 - the refusal has no date
