"""The claim of a key whose rows may come late: what is written again, and when."""

from dataclasses import replace
from datetime import datetime, timedelta

from blocks.file_ledger.claim_rules import ALL_VERSIONS, LATE_WRITES_END_AFTER, Claim
from tests.blocks.claims_without_table import FREE, HELD, LATE, NOW, after, take


def late(claim: Claim) -> tuple[int | None, str | None, datetime | None]:
    return claim.late_epoch, claim.late_version, claim.late_until


def test_a_request_may_arrive_as_long_as_its_signature_lasts_by_clocks_that_differ() -> None:
    assert timedelta(minutes=5) + timedelta(minutes=5) == LATE_WRITES_END_AFTER


def test_a_holder_that_did_not_end_its_claim_may_still_write_rows_of_its_version() -> None:
    free = HELD.freed(NOW)
    assert (4, "v1", LATE) == late(free)
    assert (None, NOW) == (free.claim_id, free.next_try_at)


def test_a_key_whose_holder_died_is_due_at_once_also_if_no_version_waits() -> None:
    """The holder may have settled a version, and not have deleted the original."""
    assert HELD.settled(str(HELD.holds)).freed(NOW).next_try_at == NOW


def test_a_free_key_has_no_holder_whose_rows_may_come_late() -> None:
    assert FREE.freed(NOW) == FREE


def test_a_takeover_notes_the_late_writes_of_the_holder_before() -> None:
    taken = take(HELD, "v2", "c2", after(61))
    assert (4, "v1", after(61) + LATE_WRITES_END_AFTER) == late(taken)
    assert (5, "c2") == (taken.epoch, taken.claim_id)


def test_late_writes_of_several_epochs_count_from_the_lowest_and_as_long_as_the_last() -> None:
    claim = FREE.with_late_writes(2, "v1", NOW)
    assert (2, "v1", after(30) + LATE_WRITES_END_AFTER) == late(claim.with_late_writes(3, "v1", after(30)))
    assert (2, ALL_VERSIONS, after(30) + LATE_WRITES_END_AFTER) == late(claim.with_late_writes(3, "v2", after(30)))
    assert (1, ALL_VERSIONS, LATE) == late(claim.with_late_writes(1, "v2", NOW))


def test_a_version_over_which_older_rows_may_come_is_written_again_once_they_have_arrived() -> None:
    assert LATE == take(HELD, "v2", "c2").loaded("v2").reload_at


def test_rows_of_the_same_version_may_come_late() -> None:
    assert take(HELD, "v1", "c2").loaded("v1").reload_at is None


def test_the_next_version_after_one_with_late_rows_is_written_again() -> None:
    same = take(HELD, "v1", "c2").loaded("v1").released(NOW)
    assert LATE == take(same, "v2", "c3", after(120)).loaded("v2").reload_at


def test_a_load_that_began_while_rows_could_come_late_is_written_again_however_late_it_ends() -> None:
    claim = take(HELD, "v2", "c2").renewed(after(3600))
    assert LATE == claim.loaded("v2").reload_at


def test_late_writes_that_arrived_before_a_load_began_are_forgotten() -> None:
    free = replace(FREE, late_epoch=1, late_version="v0", late_until=after(-1))
    assert (None, None, None) == late(take(free))
    assert take(free).loaded("v1").reload_at is None


def test_late_writes_are_kept_while_they_may_arrive_or_a_reload_is_due() -> None:
    free = replace(FREE, late_epoch=1, late_version="v0", late_until=after(1))
    assert (1, "v0", after(1)) == late(take(free))
    due = replace(free, late_until=after(-9), reload_at=after(-9))
    assert (1, "v0", after(-9)) == late(take(due))


def test_a_reload_that_is_due_already_stays_due() -> None:
    claim = replace(take(HELD, "v2", "c2"), reload_at=after(5))
    assert after(5) == claim.loaded("v2").reload_at


def test_without_late_writes_nothing_is_written_again() -> None:
    assert HELD.loaded("v1") == HELD.settled("v1")


def test_a_run_that_was_overtaken_has_what_was_loaded_since_written_again_at_once() -> None:
    free = take(HELD, "v2", "c2").loaded("v2").released(NOW)
    noted = free.overtaken(4, "v1", after(5))
    assert (4, "v1", after(5) + LATE_WRITES_END_AFTER) == late(noted)
    assert (after(5), after(5)) == (noted.reload_at, noted.next_try_at)


def test_a_run_that_was_overtaken_leaves_the_lease_of_the_holder() -> None:
    taken = take(HELD, "v2", "c2")
    noted = taken.overtaken(4, "v1", after(5))
    assert (after(5), taken.next_try_at, taken.lease_until) == (noted.reload_at, noted.next_try_at, noted.lease_until)
    assert after(5) == noted.loaded("v2").released(after(9)).next_try_at


def test_a_reload_that_began_when_all_rows_had_arrived_is_the_last() -> None:
    due = replace(FREE, late_epoch=1, late_version="v0", late_until=NOW, reload_at=NOW)
    assert due.reloaded(after(1)) == FREE


def test_a_reload_that_began_while_rows_could_arrive_is_made_once_more() -> None:
    due = replace(FREE, late_epoch=1, late_version="v0", late_until=after(60), reload_at=NOW)
    assert due.reloaded(NOW) == replace(due, reload_at=after(60))
