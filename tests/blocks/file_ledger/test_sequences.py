"""Sequences of two runs, a sweep and clocks that once lost a file, its rows or an email, step by step."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.domain.errors import LeaseLostError
from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import OwnedElsewhere
from blocks.runtime import Runtime, installed
from tests.blocks.ledger_entries import (
    FILE,
    LANDED_AT,
    claim_now,
    elsewhere,
    finished,
    load,
    own,
    pass_time,
    put_raw,
    statuses,
    version,
)

V2 = version("v2", landed_at=LANDED_AT + timedelta(seconds=30))


def test_s1_a_run_that_saw_an_older_version_claims_it_after_the_newer_one_was_loaded(file_ledger: FileLedger) -> None:
    """It finds the object gone, writes no row, and its version is settled with a reason."""
    load(file_ledger, V2, claim_id="c")
    late = own(file_ledger, FILE, "b")
    closed = file_ledger.close(
        FILE, lambda entry: entry.model_copy(update={"status": "missing", "problem": "replaced or deleted"}), "b"
    )
    assert closed
    assert {"v1": "missing", "v2": "archived"} == statuses(file_ledger)
    assert file_ledger.clear_due(claim_now(file_ledger), "b")
    with pytest.raises(LeaseLostError):
        file_ledger.settle(late.held, finished(late.entry, "archived"))
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.next_try_at)


def test_s2_a_run_that_stands_still_for_longer_than_its_lease_settles_nothing(file_ledger: FileLedger) -> None:
    """What it wrote late is written over by the version that was loaded meanwhile."""
    stalled = own(file_ledger, FILE, "a")
    pass_time(file_ledger, 65)
    load(file_ledger, V2, claim_id="b")
    assert not file_ledger.renew(stalled.held)
    with pytest.raises(LeaseLostError):
        file_ledger.settle(stalled.held, finished(stalled.entry, "archived"))
    assert {"v1": "superseded", "v2": "archived"} == statuses(file_ledger)
    file_ledger.record_lost_claim(stalled.held)
    pass_time(file_ledger, 3)
    assert [FILE.key] == [due.claim.key for due in file_ledger.due_files()]
    again = file_ledger.claim_reload("landing", FILE.key, "r", "a run")
    assert again
    assert ["v2"] == [entry.version for entry in again[1]]


def test_s3_only_the_holder_ends_its_claim_and_only_time_takes_it_away(file_ledger: FileLedger) -> None:
    """Prefect may call the run crashed: a sweep looks for due keys, and a key that is held is not due."""
    holder = own(file_ledger, FILE, "a")
    assert [] == list(file_ledger.due_files())
    file_ledger.clear_due(claim_now(file_ledger), "sweep")
    file_ledger.expect([FILE], timedelta(0))
    assert isinstance(file_ledger.claim(V2, "b", "another run"), OwnedElsewhere)
    assert file_ledger.close(FILE, lambda entry: entry, "sweep") is None
    assert file_ledger.renew(holder.held)
    file_ledger.settle(holder.held, finished(holder.entry, "archived"))
    assert file_ledger.end_claim(holder.held)
    own(file_ledger, V2, "a")
    assert {"v1": "archived", "v2": "loading"} == statuses(file_ledger)


def test_s4_a_process_that_is_not_dead_and_the_retry_of_its_flow_run_do_not_both_own_the_key(
    file_ledger: FileLedger,
) -> None:
    zombie = file_ledger.claim(FILE, "claim of the first process", "the same run")
    retry = file_ledger.claim(V2, "claim of the retry", "the same run")
    assert not isinstance(zombie, OwnedElsewhere | LedgerEntry)
    assert isinstance(retry, OwnedElsewhere)
    assert "the same run" == retry.flow_run_id
    file_ledger.settle(zombie.held, finished(zombie.entry, "archived"))
    assert file_ledger.end_claim(zombie.held)


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_s5_the_same_bytes_that_land_again_are_loaded_whatever_the_workers_clock_says(
    file_ledger: FileLedger, minutes: int
) -> None:
    class Skewed(Runtime):
        def utc_now(self) -> datetime:
            return datetime.now(UTC) + timedelta(minutes=minutes)

    def landed(etag: str, after: int) -> None:
        file = FILE.model_copy(
            update={"version_id": None, "etag": etag, "landed_at": LANDED_AT + timedelta(minutes=after)}
        )
        load(file_ledger, file, claim_id=f"c{after}")

    with installed(Skewed()):
        landed("x", 0)
        landed("y", 1)
        landed("x", 2)
    epochs = {entry.version: entry.epoch for entry in file_ledger.entries_of("landing", FILE.key)}
    assert {"x": 3, "y": 2} == epochs
    newest = file_ledger.entry(FILE.model_copy(update={"version_id": None, "etag": None}))
    assert newest
    assert "x" == newest.version


def test_s6_an_item_that_somebody_else_wrote_stops_nothing(file_ledger: FileLedger) -> None:
    odd = {
        "month": f"{datetime.now(UTC):%Y-%m}",
        "claimed_at": "2026-11-24T00:00:00.000+00:00",
        "status": "quarantined",
    }
    put_raw(file_ledger, file="landing/z", version="v", bucket="landing", key="z", unfinished="yes", **odd)
    due = {"waits_for": "load", "next_try_at": "2026-11-24T00:00:00.000+00:00"}
    put_raw(file_ledger, file="landing/y", version="#claim", **due)
    own(file_ledger)
    elsewhere(file_ledger, V2)
    pass_time(file_ledger, 65)
    assert [FILE.key] == [each.claim.key for each in file_ledger.due_files()]
    assert 0 == file_ledger.take_over()
    assert {FILE.key} == {entry.key for entry in file_ledger.newest(9)}
