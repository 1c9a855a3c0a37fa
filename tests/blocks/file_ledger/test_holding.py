"""What the run that holds a key may do with it, and what one that has lost it may not."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from blocks.domain.errors import LeaseLostError
from blocks.domain.models import FileStatus, LedgerEntry
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned, OwnedElsewhere
from blocks.file_ledger.claims import ALL_VERSIONS
from blocks.file_ledger.holding import HeldClaim
from blocks.runtime import Runtime, installed
from tests.blocks.conftest import Line, refusal
from tests.blocks.ledger_entries import (
    FILE,
    LANDED_AT,
    claim_now,
    elsewhere,
    finished,
    holder,
    load,
    own,
    pass_time,
    put_raw,
    seconds_until,
    statuses,
    version,
)

V2, V3 = version("v2"), version("v3")


def lose(file_ledger: FileLedger) -> Owned:
    """What a run believes to hold while another run has taken it over."""
    owned = own(file_ledger)
    pass_time(file_ledger, 65)
    own(file_ledger, V2, "c2")
    return owned


def settle(ledger: FileLedger, owned: Owned, status: FileStatus = "archived") -> None:
    ledger.settle(owned.held, finished(owned.entry, status))


def release(ledger: FileLedger, owned: Owned) -> None:
    ledger.release(owned.held, owned.entry, "no")


def end(ledger: FileLedger, owned: Owned) -> None:
    ledger.end_claim(owned.held)


def end_reload(ledger: FileLedger, owned: Owned) -> None:
    ledger.end_reload(owned.held)


# ---- A run that has lost its claim ----------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [settle, release, end, end_reload])
def test_a_run_that_has_lost_its_claim_changes_nothing(
    file_ledger: FileLedger, act: Callable[[FileLedger, Owned], None]
) -> None:
    lost = lose(file_ledger)
    before, entries = claim_now(file_ledger), statuses(file_ledger)
    with pytest.raises(LeaseLostError, match="landing/incoming/a b"):
        act(file_ledger, lost)
    assert (before, entries) == (claim_now(file_ledger), statuses(file_ledger))


@pytest.mark.parametrize("act", [settle, release, end])
def test_a_run_whose_claim_was_taken_over_and_ended_changes_nothing(
    file_ledger: FileLedger, act: Callable[[FileLedger, Owned], None]
) -> None:
    lost = own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, V2, claim_id="c2")
    with pytest.raises(LeaseLostError):
        act(file_ledger, lost)
    assert {"v1": "superseded", "v2": "archived"} == statuses(file_ledger)


@pytest.mark.parametrize("act", [end, end_reload])
def test_a_run_that_has_lost_its_claim_does_not_end_that_of_another(
    file_ledger: FileLedger, act: Callable[[FileLedger, Owned], None]
) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    pass_time(file_ledger, 65)
    own(file_ledger, V2, "c2")
    before = claim_now(file_ledger)
    with pytest.raises(LeaseLostError):
        act(file_ledger, owned)
    assert before == claim_now(file_ledger)


def test_a_run_that_has_lost_its_claim_cannot_renew_it(file_ledger: FileLedger) -> None:
    lost = lose(file_ledger)
    before, asked_at = claim_now(file_ledger), lost.held.asked_at
    assert not file_ledger.renew(lost.held)
    assert before == claim_now(file_ledger)
    assert asked_at == lost.held.asked_at


def test_a_run_whose_lease_expired_goes_on_if_no_other_run_came(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    pass_time(file_ledger, 3600)
    assert file_ledger.renew(owned.held)
    elsewhere(file_ledger)


def test_a_run_that_was_overtaken_has_what_was_loaded_since_written_again(file_ledger: FileLedger) -> None:
    lost = lose(file_ledger)
    file_ledger.overtaken(lost.held)
    claim = claim_now(file_ledger)
    assert ("c2", 1, "v1") == (claim.claim_id, claim.late_epoch, claim.late_version)
    assert -3 < seconds_until(file_ledger, claim.reload_at) < 3


def test_a_run_that_still_holds_its_key_was_not_overtaken(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    before = claim_now(file_ledger)
    file_ledger.overtaken(held)
    assert before == claim_now(file_ledger)


# ---- Renewing -------------------------------------------------------------------------------------------------------


def test_a_renewed_claim_lasts_from_then_on(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    first = held.asked_at
    pass_time(file_ledger, 55)
    assert file_ledger.renew(held)
    pass_time(file_ledger, 55)
    elsewhere(file_ledger)
    assert held.asked_at > first
    assert claim_now(file_ledger).next_try_at == claim_now(file_ledger).lease_until


def test_the_deadline_of_a_renewed_claim_counts_from_before_its_request(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    runtime, held, sent = Runtime(), own(file_ledger).held, list[float]()
    with dynamodb_line.before("PutItem", lambda: sent.append(runtime.monotonic())):
        assert file_ledger.renew(held)
    assert held.asked_at <= sent[0]


def test_a_renewal_keeps_what_was_noted_meanwhile(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    elsewhere(file_ledger, V2)
    assert file_ledger.renew(held)
    assert ("v1", "v2") == held.claim.unsettled == claim_now(file_ledger).unsettled


def test_a_renewal_whose_answer_was_lost_succeeds(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    held = own(file_ledger).held
    with dynamodb_line.sent_twice("PutItem"):
        assert file_ledger.renew(held)
    assert 2 == claim_now(file_ledger).revision


def test_an_ended_claim_is_not_renewed(file_ledger: FileLedger) -> None:
    assert not file_ledger.renew(load(file_ledger).held)


def test_a_shard_learns_how_long_the_lease_of_its_run_lasts(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    left = file_ledger.lease_seconds_left("landing", FILE.key, "c1")
    assert left
    assert 55 < left <= 61
    assert file_ledger.lease_seconds_left("landing", FILE.key, "c2") is None
    settle(file_ledger, Owned(held, own(file_ledger).entry, []))
    file_ledger.end_claim(held)
    assert file_ledger.lease_seconds_left("landing", FILE.key, "c1") is None


# ---- Settling and ending --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["archived", "refused", "failed"])
def test_a_settled_version_waits_no_more_and_its_key_stays_held(file_ledger: FileLedger, status: FileStatus) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned, status)
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert finished(owned.entry, status).model_dump_json() == entry.model_dump_json()
    claim = claim_now(file_ledger)
    assert ((), "c1") == (claim.unsettled, claim.claim_id)
    assert owned.held.claim == claim


def test_settling_renews_the_lease(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    first = owned.held.asked_at
    pass_time(file_ledger, 55)
    settle(file_ledger, owned)
    pass_time(file_ledger, 55)
    elsewhere(file_ledger, V2)
    assert owned.held.asked_at > first


def test_settling_twice_is_the_same_as_once(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    settle(file_ledger, owned)
    assert {"v1": "archived"} == statuses(file_ledger)
    assert not file_ledger.end_claim(owned.held)


def test_a_settlement_whose_answer_was_lost_is_made_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.sent_twice("TransactWriteItems"):
        settle(file_ledger, owned)
    assert 2 == claim_now(file_ledger).revision
    assert {"v1": "archived"} == statuses(file_ledger)


def test_a_version_that_is_noted_while_another_is_settled_is_kept(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.before("TransactWriteItems", lambda: elsewhere(file_ledger, V2)):
        settle(file_ledger, owned)
    assert {"v1": "archived", "v2": "waiting"} == statuses(file_ledger)
    assert file_ledger.end_claim(owned.held)


def test_a_run_that_is_taken_over_at_the_moment_of_settling_settles_nothing(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    owned = own(file_ledger)
    pass_time(file_ledger, 65)
    with (
        dynamodb_line.before("TransactWriteItems", lambda: own(file_ledger, V2, "c2")),
        pytest.raises(LeaseLostError),
    ):
        settle(file_ledger, owned)
    assert {"v1": "superseded", "v2": "loading"} == statuses(file_ledger)


def test_an_ended_claim_leaves_a_key_that_any_run_may_claim_and_that_is_not_due(file_ledger: FileLedger) -> None:
    load(file_ledger)
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.next_try_at)
    assert None is own(file_ledger, V2, "c2").held.claim.late_epoch


def test_a_claim_does_not_end_while_a_version_waits(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    elsewhere(file_ledger, V2)
    assert file_ledger.end_claim(owned.held)
    elsewhere(file_ledger, V2, "c3")


def test_a_version_that_comes_at_the_moment_of_the_end_is_not_left(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    with dynamodb_line.before("PutItem", lambda: elsewhere(file_ledger, V2)):
        assert file_ledger.end_claim(owned.held)
    assert "c1" == claim_now(file_ledger).claim_id


@pytest.mark.parametrize("status", ["archived", "refused"])
def test_rows_without_an_answer_have_the_next_version_written_again(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    owned = own(file_ledger)
    file_ledger.settle(owned.held, finished(owned.entry, status), unanswered=True)
    assert not file_ledger.end_claim(owned.held)
    assert claim_now(file_ledger).next_try_at is None, "late rows of the version itself do no harm"
    load(file_ledger, V2)
    claim = claim_now(file_ledger)
    assert claim.reload_at == claim.next_try_at == claim.late_until
    assert (1, "v1") == (claim.late_epoch, claim.late_version)


# ---- Failing --------------------------------------------------------------------------------------------------------


def test_a_version_whose_load_failed_waits_until_its_back_off_ends(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    waiting = file_ledger.release(owned.held, owned.entry, "S3 is down")
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert waiting
    assert ("waiting", "S3 is down", 1, 1) == (entry.status, entry.problem, entry.tries, entry.attempts)
    claim = claim_now(file_ledger)
    assert (None, ("v1",), entry.next_try_at) == (claim.claim_id, claim.unsettled, claim.next_try_at)
    assert waiting.model_dump_json() == entry.model_dump_json()
    assert owned.held.claim == claim


class Chance(Runtime):
    """The jitter is the shortest, or the longest."""

    def __init__(self, share: float) -> None:
        self._share = share

    def uniform(self, low: float, high: float) -> float:
        return low + self._share * (high - low)


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize(("tries", "longest"), [(1, 10), (2, 20), (5, 160), (9, 2560), (10, 3600), (99, 3600)])
def test_the_back_off_doubles_up_to_an_hour_and_has_jitter(
    file_ledger: FileLedger, tries: int, longest: int, share: float
) -> None:
    owned = own(file_ledger)
    with installed(Chance(share)):
        file_ledger.release(owned.held, owned.entry.model_copy(update={"tries": tries}), "no")
    assert math.isclose(
        longest * (1 + share) / 2, seconds_until(file_ledger, claim_now(file_ledger).next_try_at), abs_tol=2.5
    )


def test_a_version_that_came_during_a_load_that_failed_is_due_at_once(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    elsewhere(file_ledger, V2)
    release(file_ledger, owned)
    claim = claim_now(file_ledger)
    assert ("v1", "v2") == claim.unsettled
    assert -3 < seconds_until(file_ledger, claim.next_try_at) < 3


def test_rows_of_a_failed_load_without_an_answer_may_come_late(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    file_ledger.release(owned.held, owned.entry, "no", unanswered=True)
    assert (1, "v1") == ((claim := claim_now(file_ledger)).late_epoch, claim.late_version)
    load(file_ledger, V2, claim_id="c2")
    assert claim_now(file_ledger).reload_at


def test_a_load_that_failed_after_its_version_was_settled_is_tried_again(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    assert file_ledger.release(owned.held, None, "the original could not be deleted") is None
    assert {"v1": "archived"} == statuses(file_ledger)
    claim = claim_now(file_ledger)
    assert claim.claim_id is None
    assert 3 < seconds_until(file_ledger, claim.next_try_at) < 13


def test_a_release_whose_answer_was_lost_is_counted_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.sent_twice("TransactWriteItems"):
        file_ledger.release(owned.held, owned.entry, "AWS refused s3:GetObject", counts=False)
    assert (0, 1) == ((entry := file_ledger.entries_of("landing", FILE.key)[0]).attempts, entry.tries)
    assert 2 == claim_now(file_ledger).revision


def test_the_release_of_a_version_that_is_settled_leaves_it_settled(file_ledger: FileLedger) -> None:
    """All answers to `settle` were lost, so the run takes its load for failed."""
    owned = own(file_ledger)
    file_ledger.settle(replace(owned.held), finished(owned.entry, "archived"))
    assert file_ledger.release(owned.held, owned.entry, "no answer") is None
    assert {"v1": "archived"} == statuses(file_ledger)
    claim = claim_now(file_ledger)
    assert (None, ()) == (claim.claim_id, claim.unsettled)
    assert claim.next_try_at, "the original may still be in incoming/"


# ---- A second load of an archived version ---------------------------------------------------------------------------


def archived(file_ledger: FileLedger, name: str = "v1") -> LedgerEntry:
    return next(entry for entry in file_ledger.entries_of("landing", FILE.key) if entry.version == name)


def own_archived(file_ledger: FileLedger, claim_id: str = "c2", name: str = "v1") -> Owned:
    owned = file_ledger.claim_archived(archived(file_ledger, name), claim_id, "run of " + claim_id, email_id="e2")
    assert isinstance(owned, Owned)
    return owned


def test_an_archived_version_is_loaded_again_and_stays_archived_meanwhile(file_ledger: FileLedger) -> None:
    load(file_ledger)
    owned = own_archived(file_ledger)
    assert ("c2", 2, "v1") == holder(owned.held)
    entry = archived(file_ledger)
    assert entry.is_kept
    assert ("loading", 2, 1, 1, "e2", 6, None) == (
        entry.status,
        entry.epoch,
        entry.tries,
        entry.attempts,
        entry.email_id,
        entry.accepted,
        entry.finished_at,
    )
    assert owned.entry.model_dump_json() == entry.model_dump_json()


def test_an_archived_version_is_not_loaded_again_while_another_run_holds_the_key(file_ledger: FileLedger) -> None:
    load(file_ledger)
    own(file_ledger, V2, "c2")
    found = file_ledger.claim_archived(archived(file_ledger), "c3", "a run")
    assert isinstance(found, OwnedElsewhere)
    assert ("run of c2", "v1") == (found.flow_run_id, found.entry.version)
    assert ("v2",) == claim_now(file_ledger).unsettled


def test_versions_that_wait_keep_waiting_during_a_second_load(file_ledger: FileLedger) -> None:
    load(file_ledger)
    release(file_ledger, own(file_ledger, V2, "c2"))
    owned = own_archived(file_ledger, "c3")
    assert ("v1", "v2") == owned.held.claim.unsettled
    settle(file_ledger, owned)
    assert file_ledger.end_claim(owned.held)


def test_a_second_load_that_fails_leaves_the_version_archived_and_not_due(file_ledger: FileLedger) -> None:
    load(file_ledger)
    owned = own_archived(file_ledger)
    file_ledger.release(owned.held, owned.entry, "no")
    entry = archived(file_ledger)
    assert ("archived", "no", None) == (entry.status, entry.problem, entry.next_try_at)
    assert entry.finished_at
    assert (None, ()) == ((claim := claim_now(file_ledger)).next_try_at, claim.unsettled)


def test_a_second_load_that_fails_leaves_a_version_that_waits_due(file_ledger: FileLedger) -> None:
    load(file_ledger)
    owned = own_archived(file_ledger)
    elsewhere(file_ledger, V2, "c3")
    release(file_ledger, owned)
    assert ("v2",) == (claim := claim_now(file_ledger)).unsettled
    assert -3 < seconds_until(file_ledger, claim.next_try_at) < 3


def test_a_second_load_takes_what_the_entry_is_by_now(file_ledger: FileLedger) -> None:
    load(file_ledger)
    old = archived(file_ledger)
    again = own_archived(file_ledger)
    elsewhere_now = finished(again.entry, "archived").model_copy(update={"archived_to": "s3://landing/processed/2"})
    file_ledger.settle(again.held, elsewhere_now)
    file_ledger.end_claim(again.held)
    owned = file_ledger.claim_archived(old, "c3", "a run")
    assert isinstance(owned, Owned)
    assert "s3://landing/processed/2" == owned.entry.archived_to


def test_a_second_load_whose_answer_was_lost_is_claimed_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    load(file_ledger)
    with dynamodb_line.sent_twice("TransactWriteItems"):
        assert ("c2", 2, "v1") == holder(own_archived(file_ledger).held)


# ---- Writing again what late rows may have come over ----------------------------------------------------------------


def own_reload(file_ledger: FileLedger, claim_id: str = "r1") -> tuple[HeldClaim, list[str]]:
    pass_time(file_ledger, 3)  # the bounds of the table's clock are a second or two apart
    found = file_ledger.claim_reload("landing", FILE.key, claim_id, f"run of {claim_id}")
    assert found
    held, entries = found
    return held, [entry.version for entry in entries]


def overtake(file_ledger: FileLedger) -> None:
    """v0 and v9 are loaded, v1 is overtaken by v3, then v2 is loaded too."""
    load(file_ledger, version("v0"))
    load(file_ledger, version("v9"))
    lost = own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, V3, claim_id="c2")
    load(file_ledger, V2, claim_id="c3")
    file_ledger.overtaken(lost.held)


def test_versions_loaded_after_the_late_epoch_are_written_again_in_the_order_of_their_epochs(
    file_ledger: FileLedger,
) -> None:
    overtake(file_ledger)
    held, versions = own_reload(file_ledger)
    assert ["v3", "v2"] == versions
    assert ("r1", 6, ALL_VERSIONS) == holder(held)
    elsewhere(file_ledger, version("v4"))
    assert file_ledger.claim_reload("landing", FILE.key, "r2", "a run") is None


def test_a_reload_is_made_once_more_when_no_row_can_arrive_any_more(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    assert not file_ledger.end_reload(own_reload(file_ledger)[0])
    claim = claim_now(file_ledger)
    assert claim.reload_at == claim.next_try_at == claim.late_until
    assert file_ledger.claim_reload("landing", FILE.key, "r2", "a run") is None, "not due yet"
    pass_time(file_ledger, 605)
    held, versions = own_reload(file_ledger, "r3")
    assert ["v3", "v2"] == versions
    assert not file_ledger.end_reload(held)
    claim = claim_now(file_ledger)
    assert (None, None, None, None) == (claim.reload_at, claim.next_try_at, claim.late_epoch, claim.late_until)


def test_a_takeover_is_followed_by_a_reload_when_no_row_can_arrive_any_more(file_ledger: FileLedger) -> None:
    own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, V2, claim_id="c2")
    claim = claim_now(file_ledger)
    assert claim.reload_at == claim.next_try_at == claim.late_until
    pass_time(file_ledger, 590)
    assert file_ledger.claim_reload("landing", FILE.key, "r1", "a run") is None
    pass_time(file_ledger, 15)
    assert ["v2"] == own_reload(file_ledger)[1]


def test_a_reload_with_rows_without_an_answer_writes_the_same_versions_once_more(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    pass_time(file_ledger, 605)
    held, _ = own_reload(file_ledger)
    assert not file_ledger.end_reload(held, unanswered=True)
    assert claim_now(file_ledger).next_try_at == claim_now(file_ledger).late_until
    pass_time(file_ledger, 605)
    assert ["v3", "v2"] == own_reload(file_ledger)[1]


def test_a_reload_that_died_is_made_again(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    own_reload(file_ledger)
    pass_time(file_ledger, 65)
    assert [FILE.key] == [due.claim.key for due in file_ledger.due_files()]
    assert ["v3", "v2"] == own_reload(file_ledger, "r2")[1]


def test_a_reload_that_failed_has_a_back_off(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    held, _ = own_reload(file_ledger)
    file_ledger.release(held, None, "no", unanswered=True)
    assert 3 < seconds_until(file_ledger, (claim := claim_now(file_ledger)).next_try_at) < 13
    assert claim.next_try_at == claim.reload_at
    pass_time(file_ledger, 14)
    assert ["v3", "v2"] == own_reload(file_ledger, "r2")[1]


def test_nothing_is_written_again_where_only_the_version_of_the_late_rows_was_loaded(file_ledger: FileLedger) -> None:
    lost = own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, FILE, claim_id="c2")
    file_ledger.overtaken(lost.held)
    held, versions = own_reload(file_ledger)
    assert [] == versions
    assert not file_ledger.end_reload(held)


def test_a_version_that_waits_is_not_lost_in_a_reload(file_ledger: FileLedger) -> None:
    """The load of v2 failed while rows of v1, which was overtaken, may still arrive."""
    lost = lose(file_ledger)
    pass_time(file_ledger, 65)
    release(file_ledger, own(file_ledger, V2, "c3"))
    file_ledger.overtaken(lost.held)
    held, versions = own_reload(file_ledger)
    assert ([], ("v2",)) == (versions, held.claim.unsettled)
    assert file_ledger.end_reload(held)
    pass_time(file_ledger, 65)
    assert [("v2",)] == [due.claim.unsettled for due in file_ledger.due_files()]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_without_late_rows_no_reload_is_due(file_ledger: FileLedger, seconds: int) -> None:
    load(file_ledger)
    load(file_ledger, V2)
    pass_time(file_ledger, seconds)
    assert file_ledger.claim_reload("landing", FILE.key, "r1", "a run") is None
    assert file_ledger.claim_reload("landing", "incoming/never.csv", "r1", "a run") is None


# ---- A key whose object is gone -------------------------------------------------------------------------------------


def as_missing(entry: LedgerEntry) -> LedgerEntry:
    return entry.model_copy(update={"status": "missing", "problem": "gone", "email_id": "e9"})


def close(file_ledger: FileLedger, claim_id: str = "c9") -> list[LedgerEntry] | None:
    return file_ledger.close(FILE, as_missing, claim_id)


def test_the_versions_that_waited_are_settled_when_their_object_is_gone(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    elsewhere(file_ledger, V2)
    release(file_ledger, owned)
    closed = close(file_ledger)
    assert closed
    assert ["v1", "v2"] == [entry.version for entry in closed]
    assert {("missing", "gone", "e9", None)} == {
        (each.status, each.problem, each.email_id, each.next_try_at) for each in closed
    }
    assert all(entry.finished_at for entry in closed)
    assert {"v1": "missing", "v2": "missing"} == statuses(file_ledger)
    assert ((), None) == ((claim := claim_now(file_ledger)).unsettled, claim.next_try_at)


def test_the_callback_says_what_a_version_is_settled_as(file_ledger: FileLedger) -> None:
    """The same bytes were uploaded again while they were loaded, and moved away together."""
    owned = own(file_ledger)
    twin = version("v2", etag="e1")
    elsewhere(file_ledger, twin)
    settle(file_ledger, owned)

    def as_twin(entry: LedgerEntry) -> LedgerEntry:
        return archived(file_ledger).model_copy(update={"version": entry.version})

    assert file_ledger.end_claim(owned.held)
    closed = file_ledger.close(FILE, as_twin, "c1")
    assert closed
    assert [("v2", "archived", 6)] == [(entry.version, entry.status, entry.accepted) for entry in closed]
    assert {"v1": "archived", "v2": "archived"} == statuses(file_ledger)
    assert claim_now(file_ledger).claim_id is None


def test_a_key_that_another_run_holds_is_not_closed(file_ledger: FileLedger) -> None:
    own(file_ledger)
    before = claim_now(file_ledger)
    assert close(file_ledger) is None
    assert (before, {"v1": "loading"}) == (claim_now(file_ledger), statuses(file_ledger))


def test_a_key_that_this_run_holds_is_closed_and_free(file_ledger: FileLedger) -> None:
    own(file_ledger)
    closed = close(file_ledger, "c1")
    assert closed
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.late_epoch)


def test_a_key_whose_holder_died_is_closed_and_its_rows_may_come_late(file_ledger: FileLedger) -> None:
    own(file_ledger)
    pass_time(file_ledger, 65)
    assert close(file_ledger)
    claim = claim_now(file_ledger)
    assert (None, None, 1, "v1") == (claim.claim_id, claim.next_try_at, claim.late_epoch, claim.late_version)


def test_a_second_load_that_died_leaves_the_version_archived(file_ledger: FileLedger) -> None:
    load(file_ledger)
    own_archived(file_ledger)
    pass_time(file_ledger, 65)
    closed = close(file_ledger)
    assert closed
    assert [("v1", "archived")] == [(entry.version, entry.status) for entry in closed]
    assert "a second load of it did not finish: 1 of 8 rows" in str(closed[0].problem)


def test_a_key_of_which_nothing_waits_is_closed_without_an_entry(file_ledger: FileLedger) -> None:
    assert [] == close(file_ledger)
    file_ledger.expect([FILE], timedelta(seconds=90))
    assert [] == close(file_ledger)
    assert claim_now(file_ledger).next_try_at is None
    load(file_ledger)
    before = claim_now(file_ledger)
    assert [] == close(file_ledger)
    assert before == claim_now(file_ledger)


def test_a_reload_stays_due_when_the_key_is_closed(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    assert [] == close(file_ledger)
    assert claim_now(file_ledger).next_try_at == claim_now(file_ledger).reload_at


def test_a_key_that_another_run_claims_at_that_moment_is_not_closed(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    release(file_ledger, own(file_ledger))
    with dynamodb_line.before("TransactWriteItems", lambda: own(file_ledger, V2, "c2")):
        assert close(file_ledger) is None
    assert {"v1": "superseded", "v2": "loading"} == statuses(file_ledger)


def test_many_versions_that_waited_are_closed(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    for number in range(2, 110):
        elsewhere(file_ledger, version(f"v{number}"))
    release(file_ledger, owned)
    closed = close(file_ledger)
    assert closed
    assert [f"v{number}" for number in range(1, 110)] == [entry.version for entry in closed]
    assert {"missing"} == set(statuses(file_ledger).values())


# ---- A key of which nothing is due ----------------------------------------------------------------------------------


def test_a_key_of_which_nothing_waits_is_looked_at_no_more(file_ledger: FileLedger) -> None:
    load(file_ledger)
    file_ledger.expect([FILE], timedelta(seconds=90))
    file_ledger.nothing_due(FILE, "c9")
    assert claim_now(file_ledger).next_try_at is None


def test_the_own_claim_of_a_settled_key_ends(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    file_ledger.nothing_due(FILE, "c1")
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.next_try_at)


def test_a_version_that_waits_stays_due_when_its_run_finds_nothing_to_load(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    elsewhere(file_ledger, V2)
    settle(file_ledger, owned)
    file_ledger.nothing_due(FILE, "c1")
    claim = claim_now(file_ledger)
    assert (None, ("v2",)) == (claim.claim_id, claim.unsettled)
    assert -3 < seconds_until(file_ledger, claim.next_try_at) < 3


def test_the_claim_of_another_run_is_left(file_ledger: FileLedger) -> None:
    own(file_ledger)
    before = claim_now(file_ledger)
    file_ledger.nothing_due(FILE, "c9")
    assert before == claim_now(file_ledger)


def test_a_change_meets_another_transaction_and_is_made_again(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.answering("PutItem", refusal(400, "TransactionConflictException")):
        assert file_ledger.renew(owned.held)
    assert 2 == len(dynamodb_line.calls)


def test_an_entry_that_somebody_else_broke_keeps_no_other_version_from_being_written_again(
    file_ledger: FileLedger,
) -> None:
    overtake(file_ledger)
    put_raw(file_ledger, file=f"landing/{FILE.key}", version="v7", bucket="landing", status="odd")
    assert ["v3", "v2"] == own_reload(file_ledger)[1]


def test_a_file_that_landed_again_during_its_second_load_is_known_by_its_landing(file_ledger: FileLedger) -> None:
    load(file_ledger)
    own_archived(file_ledger)
    again = FILE.model_copy(update={"landed_at": LANDED_AT + timedelta(seconds=9)})
    assert "loading" == elsewhere(file_ledger, again, "c3").entry.status


# ---- A version that is announced after its object has gone ----------------------------------------------------------


def as_superseded(entry: LedgerEntry) -> LedgerEntry:
    return entry.model_copy(update={"status": "superseded", "problem": "replaced", "email_id": "e9"})


def test_a_version_that_is_announced_after_its_object_has_gone_gets_an_entry(file_ledger: FileLedger) -> None:
    load(file_ledger, V2)
    before = claim_now(file_ledger)
    entry = file_ledger.skip(FILE, as_superseded)
    assert entry
    assert ("v1", "e1", "superseded", "replaced", 0, 0, "e9") == (
        entry.version,
        entry.etag,
        entry.status,
        entry.problem,
        entry.tries,
        entry.attempts,
        entry.email_id,
    )
    assert entry.finished_at
    assert {"v1": "superseded", "v2": "archived"} == statuses(file_ledger)
    assert replace(before, revision=before.revision + 1) == claim_now(file_ledger)


def test_a_key_that_was_never_claimed_or_a_file_without_a_version_is_not_skipped(file_ledger: FileLedger) -> None:
    assert file_ledger.skip(FILE, as_superseded) is None
    file_ledger.expect([FILE], timedelta(seconds=90))
    assert file_ledger.skip(FILE, as_superseded) is None
    load(file_ledger, V2)
    assert file_ledger.skip(FILE.model_copy(update={"version_id": None, "etag": None}), as_superseded) is None
    assert {"v2": "archived"} == statuses(file_ledger)


def test_a_version_with_an_entry_is_not_skipped(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    load(file_ledger)
    entry = file_ledger.skip(FILE, as_superseded)
    assert entry
    assert "archived" == entry.status
    with dynamodb_line.before("TransactWriteItems", lambda: load(file_ledger, V2)):
        entry = file_ledger.skip(V2, as_superseded)
    assert entry
    assert ("archived", True) == (entry.status, entry.already_done)  # the run that has loaded it reports it
    assert {"v1": "archived", "v2": "archived"} == statuses(file_ledger)


def test_a_version_whose_skipping_lost_its_answer_is_skipped_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    load(file_ledger, V2)
    with dynamodb_line.sent_twice("TransactWriteItems"):
        entry = file_ledger.skip(FILE, as_superseded)
    assert entry
    assert "superseded" == entry.status
