"""A key whose object has gone: what waited is settled, and nothing is due."""

from dataclasses import replace
from datetime import timedelta

from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import (
    FILE,
    V2,
    archived,
    claim_now,
    elsewhere,
    load,
    own,
    own_archived,
    pass_time,
    release,
    seconds_until,
    settle,
    statuses,
    version,
)


def as_missing(entry: LedgerEntry) -> LedgerEntry:
    return entry.model_copy(update={"status": "missing", "problem": "gone", "email_id": "e9"})


def close(file_ledger: FileLedger, claim_id: str = "c9") -> list[LedgerEntry] | None:
    return file_ledger.close(FILE, as_missing, claim_id)


# ---- Its versions are settled ---------------------------------------------------------------------------------------


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
    claim = claim_now(file_ledger)
    assert claim.unsettled == ()
    assert file_ledger.clear_due(claim, "c9")
    assert claim_now(file_ledger).next_try_at is None


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


def test_a_key_that_another_run_holds_is_not_closed(file_ledger: FileLedger) -> None:
    own(file_ledger)
    before = claim_now(file_ledger)
    assert close(file_ledger) is None
    assert (before, {"v1": "loading"}) == (claim_now(file_ledger), statuses(file_ledger))


def test_a_key_that_this_run_holds_is_closed_and_stays_held(file_ledger: FileLedger) -> None:
    own(file_ledger)
    closed = close(file_ledger, "c1")
    assert closed
    assert ("c1", (), None) == ((claim := claim_now(file_ledger)).claim_id, claim.unsettled, claim.late_epoch)


def test_a_key_whose_holder_died_is_closed_and_its_rows_may_come_late(file_ledger: FileLedger) -> None:
    own(file_ledger)
    pass_time(file_ledger, 65)
    assert close(file_ledger)
    claim = claim_now(file_ledger)
    assert (None, 1, "v1") == (claim.claim_id, claim.late_epoch, claim.late_version)


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
    announced = claim_now(file_ledger)
    assert [] == close(file_ledger)
    assert announced == claim_now(file_ledger), "it may have been announced after the look that found no object"
    load(file_ledger)
    before = claim_now(file_ledger)
    assert [] == close(file_ledger)
    assert before == claim_now(file_ledger)


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


# ---- Nothing is due -------------------------------------------------------------------------------------------------


def test_a_key_of_which_nothing_waits_is_looked_at_no_more(file_ledger: FileLedger) -> None:
    load(file_ledger)
    file_ledger.expect([FILE], timedelta(seconds=90))
    assert file_ledger.clear_due(claim_now(file_ledger), "c9")
    assert claim_now(file_ledger).next_try_at is None


def test_what_was_announced_since_the_claim_was_read_stays_due(file_ledger: FileLedger) -> None:
    file_ledger.expect([FILE], timedelta(seconds=90))
    as_read = claim_now(file_ledger)
    file_ledger.expect([FILE], timedelta(seconds=90))
    announced = claim_now(file_ledger)
    assert not file_ledger.clear_due(as_read, "c9")
    assert announced == claim_now(file_ledger)


def test_a_key_that_is_handed_over_is_due_now(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    file_ledger.hand_over(FILE, "c9")
    assert "c1" == claim_now(file_ledger).claim_id
    file_ledger.hand_over(FILE, "c1")
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.late_epoch)
    assert -3 < seconds_until(file_ledger, claim.next_try_at) < 3


def test_the_own_claim_of_a_settled_key_ends(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    file_ledger.clear_due(claim_now(file_ledger), "c1")
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.next_try_at)


def test_a_version_that_waits_stays_due_when_its_run_finds_nothing_to_load(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    elsewhere(file_ledger, V2)
    settle(file_ledger, owned)
    file_ledger.clear_due(claim_now(file_ledger), "c1")
    claim = claim_now(file_ledger)
    assert (None, ("v2",)) == (claim.claim_id, claim.unsettled)
    assert -3 < seconds_until(file_ledger, claim.next_try_at) < 3


def test_the_claim_of_another_run_is_left(file_ledger: FileLedger) -> None:
    own(file_ledger)
    before = claim_now(file_ledger)
    file_ledger.clear_due(claim_now(file_ledger), "c9")
    assert before == claim_now(file_ledger)


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
