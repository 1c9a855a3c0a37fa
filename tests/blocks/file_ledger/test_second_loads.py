"""A second load of an archived version."""

from datetime import timedelta

from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned, OwnedElsewhere
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import (
    FILE,
    LANDED_AT,
    V2,
    archived,
    claim_now,
    elsewhere,
    finished,
    holder,
    load,
    own,
    own_archived,
    release,
    seconds_until,
    settle,
)


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


def test_a_file_that_landed_again_during_its_second_load_is_known_by_its_landing(file_ledger: FileLedger) -> None:
    load(file_ledger)
    own_archived(file_ledger)
    again = FILE.model_copy(update={"landed_at": LANDED_AT + timedelta(seconds=9)})
    assert "loading" == elsewhere(file_ledger, again, "c3").entry.status
