"""The claim of a key: each change of it but for late writes, and its item in the table."""

from dataclasses import replace
from datetime import datetime

import pytest

from blocks.file_ledger.claim_rules import ALL_VERSIONS, Claim, claim_attributes, moments, to_claim
from blocks.file_ledger.table import from_item, to_item
from tests.blocks.claims_without_table import FREE, HELD, LEASE, NOW, after, take

# ---- Taken, renewed, ended ------------------------------------------------------------------------------------------


def test_a_key_that_is_taken_is_held_by_the_run_in_a_new_epoch_until_its_lease_ends() -> None:
    assert Claim(
        "landing",
        "incoming/a.csv",
        revision=7,
        epoch=4,
        claim_id="c1",
        flow_run_id="run of c1",
        holds="v1",
        lease_until=after(60),
        unsettled=("v1",),
        next_try_at=after(60),
    ) == take(FREE)


def test_a_key_is_held_until_its_lease_ends_and_by_its_own_claim_never_by_another() -> None:
    assert HELD.is_held(after(59.9))
    assert not HELD.is_held(after(60))
    assert HELD.is_held_by_another("c2", NOW)
    assert not HELD.is_held_by_another("c1", NOW)
    assert not HELD.is_held_by_another("c2", after(60))
    assert not FREE.is_held(NOW)


def test_a_renewed_lease_ends_later_and_the_key_is_looked_at_then() -> None:
    renewed = HELD.renewed(after(80))
    assert (after(80), after(80)) == (renewed.lease_until, renewed.next_try_at)


def test_a_version_that_is_taken_replaces_those_that_waited() -> None:
    assert ("v3",) == take(replace(FREE, unsettled=("v1", "v2")), "v3").unsettled


def test_a_reload_leaves_the_versions_that_wait() -> None:
    waits = replace(FREE, unsettled=("v1", "v2"))
    assert ("v1", "v2") == waits.taken_to_reload("c2", "run", lease=LEASE, now=NOW).unsettled


def test_a_load_from_the_archive_leaves_what_waits_and_what_is_announced() -> None:
    waits = replace(FREE, unsettled=("v2",), next_try_at=after(7))
    taken = waits.taken_from_archive("c2", "run", "v1", lease=LEASE, now=NOW)
    assert (("v1", "v2"), "v1", after(7)) == (taken.unsettled, taken.holds, taken.expected_by)
    assert after(7) == taken.settled("v1").settled("v2").released(NOW).next_try_at


def test_a_reload_that_is_due_is_not_due_again_when_it_is_done() -> None:
    due = replace(FREE, late_epoch=1, late_version="v0", late_until=NOW, reload_at=NOW, next_try_at=NOW)
    taken = due.taken_to_reload("c2", "run", lease=LEASE, now=NOW)
    assert taken.reloaded(after(1)).released(after(2)).next_try_at is None
    announced = replace(due, next_try_at=after(90), announcements=1).taken_to_reload("c2", "run", lease=LEASE, now=NOW)
    assert after(90) == announced.reloaded(after(1)).released(after(2)).next_try_at, "for a version, perhaps"


def test_a_run_goes_on_with_the_next_version_under_its_own_claim_without_late_writes() -> None:
    again = take(HELD.noted("v2"), "v2")
    assert (5, "v2", ("v2",), None) == (again.epoch, again.holds, again.unsettled, again.late_epoch)


def test_a_released_key_is_looked_at_no_more() -> None:
    free = HELD.settled("v1").released(NOW)
    assert replace(FREE, epoch=4) == free


def test_a_released_key_is_due_at_once_if_a_version_waits() -> None:
    assert NOW == HELD.noted("v2").settled("v1").released(NOW).next_try_at


def test_a_released_key_is_looked_at_again_for_its_reload() -> None:
    assert after(9) == replace(HELD.settled("v1"), reload_at=after(9)).released(NOW).next_try_at


def test_after_a_failed_load_the_key_is_looked_at_when_the_back_off_ends() -> None:
    free = HELD.put_off(after(10), NOW)
    assert (None, None, None, None, ("v1",)) == (
        free.claim_id,
        free.flow_run_id,
        free.holds,
        free.lease_until,
        free.unsettled,
    )
    assert after(10) == free.next_try_at


@pytest.mark.parametrize(("reload_at", "then"), [(NOW, after(10)), (after(99), after(99))])
def test_the_back_off_of_a_failed_load_holds_for_a_reload_too(reload_at: datetime, then: datetime) -> None:
    free = replace(HELD, reload_at=reload_at).put_off(after(10), NOW)
    assert (after(10), then) == (free.next_try_at, free.reload_at)


def test_a_failed_load_does_not_forget_an_announcement_that_came_meanwhile() -> None:
    free = HELD.expected(after(90), NOW).put_off(after(3600), NOW)
    assert (after(90), 1) == (free.next_try_at, free.announcements)


def test_a_failed_load_delays_no_other_version() -> None:
    free = replace(HELD.noted("v2"), reload_at=NOW).put_off(after(10), NOW)
    assert (NOW, after(10)) == (free.next_try_at, free.reload_at)


def test_a_failed_reload_delays_no_version_that_waits() -> None:
    held = replace(FREE, reload_at=NOW).noted("v2").taken_to_reload("c2", "run", lease=LEASE, now=NOW)
    free = held.put_off(after(10), NOW)
    assert (NOW, after(10)) == (free.next_try_at, free.reload_at)


def test_reloads_are_counted_until_one_is_done() -> None:
    claim = replace(FREE, late_epoch=1, late_version="v0", late_until=NOW, reload_at=NOW)
    for tries in (1, 2, 3):
        claim = claim.taken_to_reload("c2", "run", lease=LEASE, now=NOW)
        assert (tries, ALL_VERSIONS) == (claim.reload_tries, claim.holds)
        claim = claim.put_off(after(10), NOW)
    assert 0 == claim.reloaded(after(1)).reload_tries


# ---- Versions that wait ---------------------------------------------------------------------------------------------


def test_versions_are_noted_once_each_in_the_order_of_their_coming() -> None:
    assert ("v1", "v3", "v2") == HELD.noted("v3").noted("v2").noted("v3").noted("v1").unsettled


def test_a_settled_version_waits_no_more() -> None:
    assert ("v2",) == HELD.noted("v2").settled("v1").settled("v9").unsettled


# ---- What is expected -----------------------------------------------------------------------------------------------


def test_an_announced_key_is_looked_at_again_whenever_it_was_due_before() -> None:
    assert after(90) == FREE.expected(after(90), NOW).next_try_at
    assert after(90) == replace(FREE, next_try_at=after(5)).expected(after(90), NOW).next_try_at


def test_a_held_key_that_is_announced_is_looked_at_when_its_lease_ends() -> None:
    assert HELD.next_try_at == HELD.expected(after(90), NOW).next_try_at


def test_an_announcement_that_no_run_came_for_is_looked_at_after_the_load() -> None:
    """The Prefect server may lose it; the run that holds the key knows nothing of it."""
    announced = HELD.expected(after(90), NOW)
    assert after(90) == announced.settled("v1").released(after(5)).next_try_at
    assert after(5) == announced.noted("v2").settled("v1").released(after(5)).next_try_at, "its run has come"
    again = announced.noted("v1").settled("v1").released(after(5))
    assert after(90) == again.next_try_at, "its run has come, but perhaps before a newer version was announced"


def test_an_announcement_counts_also_if_the_run_renews_its_lease_after_all() -> None:
    """A run whose lease has expired still holds the key, until another run takes it over."""
    renewed = HELD.expected(after(150), after(61)).renewed(after(130))
    assert after(150) == renewed.settled("v1").released(after(70)).next_try_at


def test_a_key_whose_lease_has_expired_is_not_announced_again_at_once() -> None:
    assert after(150) == HELD.expected(after(150), after(60)).next_try_at


def test_with_nothing_due_a_key_is_looked_at_for_its_reload_only() -> None:
    assert replace(FREE, next_try_at=NOW).without_due_time().next_try_at is None
    assert after(9) == replace(FREE, next_try_at=NOW, reload_at=after(9)).without_due_time().next_try_at


def test_a_key_that_is_held_or_has_a_version_that_waits_stays_due() -> None:
    waits = replace(FREE, unsettled=("v1",), next_try_at=NOW)
    assert waits.without_due_time() == waits
    assert HELD.without_due_time() == HELD


# ---- As an item -----------------------------------------------------------------------------------------------------


CLAIMS = [
    Claim("landing", "incoming/é.csv"),
    FREE,
    HELD,
    take(HELD.noted("v2"), "v3", "c2").loaded("v3").released(NOW),
    HELD.put_off(after(10), NOW),
    replace(FREE, reload_at=NOW).taken_to_reload("c2", "run", lease=LEASE, now=NOW),
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_survives_the_way_through_the_table(claim: Claim) -> None:
    assert claim == to_claim(claim.bucket, claim.key, from_item(to_item(claim_attributes(claim))))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_in_the_index_by_due_time_while_it_is_due(claim: Claim) -> None:
    attributes = claim_attributes(claim)
    assert (f"landing/{claim.key}", "#claim") == (attributes["file"], attributes["version"])
    assert (attributes.get("waits_for") == "load") == (claim.next_try_at is not None)


def test_times_are_text_that_sorts_in_their_order() -> None:
    assert "2026-11-22T20:01:00.000+00:00" == claim_attributes(HELD)["next_try_at"]


@pytest.mark.parametrize("attributes", [None, {}])
def test_without_an_item_the_key_was_never_claimed(attributes: dict[str, str] | None) -> None:
    assert Claim("landing", "incoming/a.csv") == to_claim("landing", "incoming/a.csv", attributes)


@pytest.mark.parametrize("text", ["2026-11-22T20:00:00", "2026-11-22", "soon"])
def test_a_time_that_somebody_else_wrote_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset|Invalid isoformat"):
        moments({"next_try_at": text}, ["next_try_at"])
