"""Who may load a version of a file, and what is remembered of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from blocks.file_ledger import FileLedger
from flows.errors import ClaimedElsewhereError
from flows.models import FileReport, FileStatus, LedgerEntry, Reject, SensorFile

FILE = SensorFile(bucket="landing", key="incoming/a b+c%20é.csv", version_id="v1", etag="e1", size=8)
RUN, ANOTHER_RUN = "run-1", "run-2"


def expired(file_ledger: FileLedger) -> FileLedger:
    """The same ledger, whose leases are over as soon as they are given."""
    return file_ledger.model_copy(update={"lease_seconds": -1})


def finished(entry: LedgerEntry, status: FileStatus) -> LedgerEntry:
    """All that is known of a file in the end."""
    return entry.model_copy(
        update={
            "status": status,
            "lines": 9,
            "header": 1,
            "rows": 8,
            "accepted": 6,
            "replaced": 1,
            "rejected": 1,
            "reasons": {"value": 1},
            "first_rejects": [Reject(line=3, reason="value", text="0000-0001,1483906366,é\\x00")],
            "archived_to": "s3://landing/processed/a b+c%20é.csv",
            "rejects_at": "s3://landing/rejects/a b+c%20é.csv.rejects.csv",
            "problem": "1 of 8 rows breaks a rule",
            "finished_at": datetime(2026, 11, 22, 20, 25, tzinfo=UTC),
            "lease_until": None,
        }
    )


# ---- Who may load -------------------------------------------------------------------------------------------------


def test_a_version_that_was_never_claimed_is_given_to_who_asks(file_ledger: FileLedger) -> None:
    entry = file_ledger.claim(FILE, RUN)
    assert ("landing", FILE.key, "v1", "loading", RUN) == (
        entry.bucket,
        entry.key,
        entry.version,
        entry.status,
        entry.flow_run_id,
    )


def test_a_claim_holds_for_as_long_as_the_block_says(file_ledger: FileLedger) -> None:
    entry = file_ledger.model_copy(update={"lease_seconds": 60}).claim(FILE, RUN)
    assert entry.claimed_at + timedelta(seconds=60) == entry.lease_until


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_a_version_that_another_run_is_loading_is_refused_naming_run_and_lease(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    entry = file_ledger.claim(FILE, RUN).model_copy(update={"status": status})
    file_ledger.record(entry)
    with pytest.raises(ClaimedElsewhereError, match=f"{RUN}.*{entry.lease_until:%Y-%m-%d %H:%M:%S}"):
        file_ledger.claim(FILE, ANOTHER_RUN)
    assert [RUN] == [each.flow_run_id for each in file_ledger.entries_of("landing", FILE.key)]


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_a_version_whose_lease_is_over_is_taken_over(file_ledger: FileLedger, status: FileStatus) -> None:
    file_ledger.record(expired(file_ledger).claim(FILE, RUN).model_copy(update={"status": status}))
    entry = file_ledger.claim(FILE, ANOTHER_RUN)
    assert ("loading", ANOTHER_RUN) == (entry.status, entry.flow_run_id)


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_a_run_that_begins_again_gets_what_it_holds_already(file_ledger: FileLedger, status: FileStatus) -> None:
    file_ledger.record(file_ledger.claim(FILE, RUN).model_copy(update={"status": status}))
    assert "loading" == file_ledger.claim(FILE, RUN).status


@pytest.mark.parametrize("run", [RUN, ANOTHER_RUN])
@pytest.mark.parametrize("status", ["archived", "refused"])
def test_a_version_that_was_dealt_with_is_given_to_nobody_and_its_entry_comes_back_as_it_stands(
    file_ledger: FileLedger, status: FileStatus, run: str
) -> None:
    entry = finished(expired(file_ledger).claim(FILE, RUN), status)
    file_ledger.record(entry)
    assert entry.model_dump_json() == file_ledger.claim(FILE, run).model_dump_json()
    assert 1 == len(file_ledger.entries_of("landing", FILE.key))


@pytest.mark.parametrize(
    "other",
    [{"version_id": "v2"}, {"version_id": None}, {"key": "incoming/b.csv"}, {"bucket": "another"}],
)
def test_another_version_key_or_bucket_is_another_claim(file_ledger: FileLedger, other: dict[str, str | None]) -> None:
    file_ledger.claim(FILE, RUN)
    assert "loading" == file_ledger.claim(FILE.model_copy(update=other), ANOTHER_RUN).status


def test_of_many_runs_that_claim_at_once_exactly_one_gets_it(file_ledger: FileLedger) -> None:
    runs = 16
    together = Barrier(runs)

    def claim(number: int) -> str | None:
        together.wait()
        try:
            return file_ledger.claim(FILE, f"run-{number}").flow_run_id
        except ClaimedElsewhereError:
            return None

    with ThreadPoolExecutor(runs) as pool:
        claimed = [run for run in pool.map(claim, range(runs)) if run]
    assert claimed == [entry.flow_run_id for entry in file_ledger.entries_of("landing", FILE.key)]


def test_of_many_runs_that_take_over_at_once_exactly_one_gets_it(file_ledger: FileLedger) -> None:
    expired(file_ledger).claim(FILE, "run-that-died")
    test_of_many_runs_that_claim_at_once_exactly_one_gets_it(file_ledger)


# ---- What is remembered -------------------------------------------------------------------------------------------


def test_everything_that_is_known_of_a_file_is_remembered(file_ledger: FileLedger) -> None:
    entry = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(entry)
    [remembered] = file_ledger.entries_of("landing", FILE.key)
    assert entry.model_dump_json() == remembered.model_dump_json()


def test_that_people_were_told_is_noted_in_the_entry_of_that_version(file_ledger: FileLedger) -> None:
    told = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(told)
    file_ledger.claim(FILE.model_copy(update={"version_id": "v2"}), RUN)
    file_ledger.note_notified(told)
    entries = {entry.version: entry for entry in file_ledger.entries_of("landing", FILE.key)}
    assert entries["v1"].notified_at is not None
    assert entries["v2"].notified_at is None
    assert told.model_dump_json() == entries["v1"].model_copy(update={"notified_at": None}).model_dump_json()


def test_telling_people_about_a_file_that_was_missing_makes_up_no_entry(file_ledger: FileLedger) -> None:
    file_ledger.note_notified(FileReport(bucket="landing", key=FILE.key, version="v1", status="missing"))
    assert [] == file_ledger.entries_of("landing", FILE.key)
    assert "loading" == file_ledger.claim(FILE, RUN).status


def test_all_versions_of_a_file_are_remembered_however_many(file_ledger: FileLedger) -> None:
    rejects = [Reject(line=1, reason="value", text="x" * 1000)] * 10
    versions = [f"v{number:03}" for number in range(120)]  # more than the 1 MB that one answer of DynamoDB holds
    for version in versions:
        entry = LedgerEntry(
            bucket="landing",
            key=FILE.key,
            version=version,
            status="archived",
            claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
            first_rejects=rejects,
        )
        file_ledger.record(entry)
    assert versions == sorted(entry.version for entry in file_ledger.entries_of("landing", FILE.key))


def test_a_file_that_never_came_has_no_entries(file_ledger: FileLedger) -> None:
    assert [] == file_ledger.entries_of("landing", "incoming/never.csv")
