"""What is due is announced, under the limit of run slots, and never over and over."""

from itertools import pairwise

import pytest

from blocks.domain.models import SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_table import SAME_PACE
from blocks.file_ledger.claiming import Owned
from blocks.saved_blocks import load_blocks
from flows.recovery.due_files import CLAIMED_WITHIN, due_groups, take_up_due
from tests.flows.recovery.slots import Announced, SetSlots
from tests.support.table_time import table_time_later
from tests.support.world import World

WITHIN = CLAIMED_WITHIN.total_seconds()


def file(world: World, name: str) -> SensorFile:
    return SensorFile(bucket=world.outputs.bucket_name, key=f"incoming/{name}")


def take_up(ledger: FileLedger, slots: SetSlots | None = None) -> Announced:
    announced = Announced()
    files = take_up_due(ledger, slots or SetSlots(), announced, "incoming/")
    assert [file.key for file in files] == [key for keys in announced.events for key in keys]
    return announced


def fail(world: World, ledger: FileLedger, name: str, times: int) -> None:
    """Have so many loads of the file fail."""
    uri = world.put("0000-0001,1483906366,1\n", f"incoming/{name}")
    found = load_blocks().landing_zone.describe(SensorFile.model_validate(uri))
    assert found is not None
    for number in range(times):
        with table_time_later(10_000 * (number + 1)):
            owned = ledger.claim(found, f"{name} {number}", "a run")
            assert isinstance(owned, Owned)
            ledger.release(owned.held, owned.entry, "it could not be loaded")


def test_a_file_that_no_run_has_claimed_in_time_is_announced_again_as_a_new_event(
    world: World, ledger: FileLedger
) -> None:
    ledger.expect([file(world, "unclaimed.csv")], CLAIMED_WITHIN)
    assert [] == take_up(ledger).events
    with table_time_later(WITHIN + 2):
        first = take_up(ledger)
        assert [["incoming/unclaimed.csv"]] == first.events
        assert [] == take_up(ledger).events
    with table_time_later(WITHIN * 4):
        again = take_up(ledger)
    assert [["incoming/unclaimed.csv"]] == again.events
    assert first.occasions.isdisjoint(again.occasions | {""})


def test_a_file_that_no_run_ever_claims_is_announced_less_and_less_often(world: World, ledger: FileLedger) -> None:
    ledger.expect([file(world, "never-claimed.csv")], CLAIMED_WITHIN)
    announced_at: list[float] = [0]
    for seconds in range(0, 30_000, 60):
        with table_time_later(seconds):
            announced_at += [seconds] * take_up(ledger).times("incoming/never-claimed.csv")
    pauses = [after - before for before, after in pairwise(announced_at)]
    assert [WITHIN] * (SAME_PACE + 1) + [180, 360, 720, 1440] == pytest.approx(pauses[: SAME_PACE + 5], abs=61)
    assert 3600 == pytest.approx(min(pauses[SAME_PACE + 6 :]), abs=61)


def test_a_file_whose_load_failed_is_announced_after_its_back_off(world: World, ledger: FileLedger) -> None:
    fail(world, ledger, "failed-once.csv", 1)
    with table_time_later(10_000 + 1):
        assert [] == take_up(ledger).events
    with table_time_later(10_000 + 15):
        assert [["incoming/failed-once.csv"]] == take_up(ledger).events


def test_a_file_that_a_run_holds_is_left_to_it_until_its_lease_ends(world: World, ledger: FileLedger) -> None:
    found = load_blocks().landing_zone.describe(SensorFile.model_validate(world.put("x", "incoming/held.csv")))
    assert found is not None
    assert isinstance(ledger.claim(found, "a claim", "a run"), Owned)
    with table_time_later(ledger.claim_seconds - 5):
        assert [] == take_up(ledger).events
    with table_time_later(ledger.claim_seconds + 2):
        assert [["incoming/held.csv"]] == take_up(ledger).events


def test_a_file_of_which_two_loads_have_failed_is_announced_alone(world: World, ledger: FileLedger) -> None:
    fail(world, ledger, "suspect.csv", 2)
    fail(world, ledger, "failed-before.csv", 1)
    ledger.expect([file(world, "beside-it.csv")], CLAIMED_WITHIN)
    with table_time_later(40_000):
        groups = [{each.key for each in group} for group in due_groups(ledger)]
    assert [{"incoming/failed-before.csv", "incoming/beside-it.csv"}, {"incoming/suspect.csv"}] == groups


def test_no_more_groups_are_announced_than_there_are_free_slots(world: World, ledger: FileLedger) -> None:
    for name in ("one.csv", "another.csv", "third.csv"):
        fail(world, ledger, name, 2)
    with table_time_later(40_000):
        assert [] == take_up(ledger, SetSlots(0)).events
        first = take_up(ledger, SetSlots(2))
        rest = take_up(ledger)
    assert [2, 1] == [len(first.events), len(rest.events)]
    assert 3 == len({key for keys in first.events + rest.events for key in keys})


def test_a_group_that_could_not_be_announced_is_due_again(world: World, ledger: FileLedger) -> None:
    ledger.expect([file(world, "server-away.csv")], CLAIMED_WITHIN)

    def away(*_: object) -> None:
        raise ConnectionError

    with table_time_later(WITHIN + 2), pytest.raises(ConnectionError):
        take_up_due(ledger, SetSlots(), away, "incoming/")
    with table_time_later(WITHIN * 4):
        assert [["incoming/server-away.csv"]] == take_up(ledger).events


def test_a_file_is_expected_before_it_is_announced(world: World, ledger: FileLedger) -> None:
    """A relay that dies in between has announced nothing, and one that dies later leaves a file that is due again."""
    expected: list[float] = []
    due = file(world, "expected-first.csv")
    ledger.expect([due], CLAIMED_WITHIN)

    def announce(files: object, _prefix: str, _occasion: str) -> None:
        assert files == [due]
        next_try_at = ledger.claim_of(due.bucket, due.key).next_try_at
        assert next_try_at is not None
        expected.append((next_try_at - ledger._clock.latest()).total_seconds())  # noqa: SLF001 - the ledger's own time

    with table_time_later(WITHIN + 2):
        take_up_due(ledger, SetSlots(), announce, "incoming/")
    assert [WITHIN] == [pytest.approx(each, abs=3) for each in expected]
