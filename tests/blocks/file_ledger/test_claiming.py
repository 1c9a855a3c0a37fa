"""Who may load which version of a key."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from blocks.domain.models import FileStatus, LedgerEntry, StoredFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import OwnedElsewhere
from blocks.runtime import Runtime, installed
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import (
    FILE,
    LANDED_AT,
    V2,
    claim_now,
    elsewhere,
    finished,
    holder,
    load,
    own,
    pass_time,
    seconds_until,
    statuses,
    version,
)

UNVERSIONED = FILE.model_copy(update={"version_id": None})
"""As a bucket without versions describes it, whose version is its ETag."""

# ---- A free key -----------------------------------------------------------------------------------------------------


def test_a_new_key_is_held_by_the_run_that_claims_it(file_ledger: FileLedger) -> None:
    owned = own(file_ledger, email_id="e1")
    assert ("c1", 1, "v1") == holder(owned.held)
    assert owned.held.claim == claim_now(file_ledger)
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert owned.entry.model_dump_json() == entry.model_dump_json()
    assert ("v1", "e1", LANDED_AT, "loading", 1, 1, 1, "run of c1", "e1") == (
        entry.version,
        entry.etag,
        entry.landed_at,
        entry.status,
        entry.epoch,
        entry.tries,
        entry.attempts,
        entry.flow_run_id,
        entry.email_id,
    )


def test_a_claim_lasts_as_long_as_the_block_says(file_ledger: FileLedger) -> None:
    held = own(file_ledger.model_copy(update={"claim_seconds": 300})).held
    assert 299 < seconds_until(file_ledger, held.claim.lease_until) < 303
    assert held.claim.next_try_at == held.claim.lease_until


def test_the_deadline_of_a_claim_counts_from_before_its_request(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    runtime = Runtime()
    sent = []
    with dynamodb_line.before("TransactWriteItems", lambda: sent.append(runtime.monotonic())):
        held = own(file_ledger).held
    assert held.asked_at <= sent[0]
    assert held.asked_at > sent[0] - 30


@pytest.mark.parametrize("other", [{"key": "incoming/b.csv"}, {"bucket": "another"}])
def test_another_key_or_bucket_is_another_claim(file_ledger: FileLedger, other: dict[str, str]) -> None:
    own(file_ledger)
    own(file_ledger, FILE.model_copy(update=other), "c2")


def test_the_claim_of_a_file_without_a_version_id_is_by_its_etag(file_ledger: FileLedger) -> None:
    file: StoredFile = FILE.model_copy(update={"version_id": "null"})
    assert re.match("e1", own(file_ledger, file).entry.version)


# ---- A held key -----------------------------------------------------------------------------------------------------


def test_a_version_that_comes_while_another_is_loaded_is_noted_for_the_holder(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    found = elsewhere(file_ledger, V2)
    assert ("run of c1", "waiting", "v2", 0, 0) == (
        found.flow_run_id,
        found.entry.status,
        found.entry.version,
        found.entry.tries,
        found.entry.attempts,
    )
    claim = claim_now(file_ledger)
    assert (("v1", "v2"), "c1", "v1") == (claim.unsettled, claim.claim_id, claim.holds)
    assert held.claim.lease_until == claim.lease_until
    assert {"v1": "loading", "v2": "waiting"} == statuses(file_ledger)


def test_a_version_that_is_being_loaded_or_is_noted_is_not_noted_again(file_ledger: FileLedger) -> None:
    own(file_ledger)
    elsewhere(file_ledger, V2)
    before = claim_now(file_ledger)
    assert "waiting" == elsewhere(file_ledger, V2, "c3").entry.status
    assert "loading" == elsewhere(file_ledger, FILE, "c3").entry.status
    assert before == claim_now(file_ledger)


def test_the_noted_version_is_loaded_next_under_the_same_claim(file_ledger: FileLedger) -> None:
    first = own(file_ledger)
    elsewhere(file_ledger, V2)
    file_ledger.settle(first.held, finished(first.entry, "archived"))
    assert file_ledger.end_claim(first.held)
    next_one = own(file_ledger, V2, email_id="e1")
    assert ("c1", 2, "v2") == holder(next_one.held)
    assert (1, 1, "e1") == (next_one.entry.tries, next_one.entry.attempts, next_one.entry.email_id)
    assert [] == next_one.superseded
    assert next_one.held.claim.late_epoch is None


def test_a_version_that_lands_again_while_its_key_is_held_waits(file_ledger: FileLedger) -> None:
    load(file_ledger)
    own(file_ledger, V2)
    later = LANDED_AT + timedelta(seconds=1)
    found = elsewhere(file_ledger, FILE.model_copy(update={"landed_at": later}))
    assert ("waiting", later) == (found.entry.status, found.entry.landed_at)
    assert {"v1": "waiting", "v2": "loading"} == statuses(file_ledger)
    assert ("v2", "v1") == claim_now(file_ledger).unsettled


# ---- Takeovers ------------------------------------------------------------------------------------------------------


def test_an_expired_claim_is_taken_over_by_one_run_and_its_rows_may_come_late(file_ledger: FileLedger) -> None:
    own(file_ledger)
    pass_time(file_ledger, 55)
    elsewhere(file_ledger)
    pass_time(file_ledger, 10)
    taken = own(file_ledger, FILE, "c2")
    assert ("c2", 2, "v1") == holder(taken.held)
    assert (1, "v1") == (taken.held.claim.late_epoch, taken.held.claim.late_version)
    assert 600 < seconds_until(file_ledger, taken.held.claim.late_until) < 603
    assert (2, 2, 2) == (taken.entry.tries, taken.entry.attempts, taken.entry.epoch)
    elsewhere(file_ledger, FILE, "c3")


def test_a_block_with_another_lease_takes_over_no_earlier(file_ledger: FileLedger) -> None:
    own(file_ledger)
    hasty = file_ledger.model_copy(update={"claim_seconds": 0.001})
    elsewhere(hasty)
    own(hasty, V2.model_copy(update={"key": "incoming/b.csv"}))
    pass_time(file_ledger, 2)
    own(file_ledger, FILE.model_copy(update={"key": "incoming/b.csv"}), "c2")


def test_a_claim_with_its_own_id_goes_on(file_ledger: FileLedger) -> None:
    own(file_ledger)
    again = own(file_ledger)
    assert ("c1", 2, "v1") == holder(again.held)
    assert again.held.claim.late_epoch is None
    assert (2, 2) == (again.entry.tries, again.entry.attempts)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_worker_whose_clock_is_wrong_takes_no_live_claim_and_gives_no_longer_one(
    file_ledger: FileLedger, minutes: int
) -> None:
    class Skewed(Runtime):
        def utc_now(self) -> datetime:
            return datetime.now(UTC) + timedelta(minutes=minutes)

    own(file_ledger)
    with installed(Skewed()):
        fresh = FileLedger(table_name=file_ledger.table_name, credentials=file_ledger.credentials)
        elsewhere(fresh)
        held = own(fresh, FILE.model_copy(update={"key": "incoming/b.csv"})).held
        fresh.expect([FILE.model_copy(update={"key": "incoming/c.csv"})], timedelta(0))
        assert [] == [due.claim.key for due in fresh.due_files() if due.claim.key != "incoming/c.csv"]
    assert 59 < seconds_until(file_ledger, held.claim.lease_until) < 63
    assert 0 < seconds_until(file_ledger, claim_now(file_ledger, version("v", key="incoming/c.csv")).next_try_at) < 3


# ---- Settled versions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["archived", "refused", "failed"])
def test_the_entry_of_a_settled_version_comes_back_as_it_is(file_ledger: FileLedger, status: FileStatus) -> None:
    load(file_ledger, status=status)
    before = claim_now(file_ledger)
    found = file_ledger.claim(FILE, "c2", "another run")
    assert isinstance(found, LedgerEntry)
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert entry.model_dump_json() == found.model_dump_json()
    assert status == entry.status
    assert before == claim_now(file_ledger)


@pytest.mark.parametrize("status", ["archived", "refused", "failed", "missing", "superseded"])
def test_the_same_bytes_that_land_again_where_there_are_no_versions_are_loaded_again(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    load(file_ledger, UNVERSIONED, status)
    # S3's clock decides when it landed, also if it is behind the clock of the worker that loaded it.
    owned = own(file_ledger, UNVERSIONED.model_copy(update={"landed_at": LANDED_AT + timedelta(seconds=1)}), "c2")
    assert ("e1", "loading", 1, 1, None, None) == (
        owned.entry.version,
        owned.entry.status,
        owned.entry.tries,
        owned.entry.attempts,
        owned.entry.archived_to,
        owned.entry.problem,
    )


@pytest.mark.parametrize("status", ["missing", "superseded"])
def test_a_version_that_was_settled_as_gone_and_is_back_is_loaded(file_ledger: FileLedger, status: FileStatus) -> None:
    load(file_ledger, status=status)
    assert "loading" == own(file_ledger, FILE, "c2").entry.status


def test_on_request_a_settled_version_is_loaded_again(file_ledger: FileLedger) -> None:
    load(file_ledger)
    assert ("loading", 2) == ((entry := own(file_ledger, FILE, "c2", again=True).entry).status, entry.epoch)


def test_not_even_on_request_is_a_version_loaded_that_another_run_is_loading(file_ledger: FileLedger) -> None:
    own(file_ledger)
    assert isinstance(file_ledger.claim(FILE, "c2", "another run", again=True), OwnedElsewhere)


# ---- How often it was tried -----------------------------------------------------------------------------------------


def test_loads_that_fail_are_counted_with_the_last_reason(file_ledger: FileLedger) -> None:
    for attempt in (1, 2, 3):
        owned = own(file_ledger)
        assert (attempt, attempt) == (owned.entry.attempts, owned.entry.tries)
        file_ledger.release(owned.held, owned.entry, f"reason {attempt}")
    assert "reason 3" == own(file_ledger).entry.problem


def test_loads_that_died_are_counted(file_ledger: FileLedger) -> None:
    tries = []
    for number in range(3):
        tries.append(own(file_ledger, FILE, f"c{number}").entry.attempts)
        pass_time(file_ledger, 65)
    assert [1, 2, 3] == tries


def test_loads_that_failed_through_no_fault_of_the_file_are_not_counted(file_ledger: FileLedger) -> None:
    for _ in range(3):
        owned = own(file_ledger)
        file_ledger.release(owned.held, owned.entry, "AWS refused s3:GetObject", counts=False)
    assert (1, 4) == ((entry := own(file_ledger).entry).attempts, entry.tries)


def test_the_next_version_begins_to_count_anew(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    file_ledger.release(owned.held, owned.entry, "no")
    assert (1, 1, None) == ((entry := own(file_ledger, V2).entry).attempts, entry.tries, entry.problem)
