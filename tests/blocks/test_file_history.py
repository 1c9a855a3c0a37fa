"""What the ledger remembers of a file."""

from datetime import UTC, datetime

import pytest

from blocks.file_ledger import FileLedger
from flows.models import FileReport, FileStatus, LedgerEntry, Reject, SensorFile
from tests.blocks.ledger_entries import ANOTHER_RUN, FILE, RUN, expired, finished


def test_everything_that_is_known_of_a_file_is_remembered(file_ledger: FileLedger) -> None:
    entry = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(entry)
    [remembered] = file_ledger.entries_of("landing", FILE.key)
    assert entry.model_dump_json() == remembered.model_dump_json()


def test_the_run_that_settled_a_file_first_is_remembered(file_ledger: FileLedger) -> None:
    too_slow = expired(file_ledger).claim(FILE, RUN)
    first = finished(file_ledger.claim(FILE, ANOTHER_RUN), "archived")
    file_ledger.record(first)
    file_ledger.record(too_slow.model_copy(update={"status": "loaded"}))
    file_ledger.record(finished(too_slow, "archived"))
    assert [ANOTHER_RUN] == [entry.flow_run_id for entry in file_ledger.entries_of("landing", FILE.key)]


def test_a_run_that_is_slower_than_its_lease_can_still_be_the_first_to_settle_a_file(file_ledger: FileLedger) -> None:
    too_slow = expired(file_ledger).claim(FILE, RUN)
    file_ledger.claim(FILE, ANOTHER_RUN)
    file_ledger.record(finished(too_slow, "archived"))
    assert [RUN] == [entry.flow_run_id for entry in file_ledger.entries_of("landing", FILE.key)]


@pytest.mark.parametrize("status", ["archived", "refused"])
@pytest.mark.parametrize("known", [{}, {"version_id": None}, {"version_id": None, "etag": None}, {"size": 9}])
def test_a_file_that_moved_on_is_found_by_whatever_is_known_of_its_version(
    file_ledger: FileLedger, status: FileStatus, known: dict[str, None]
) -> None:
    entry = finished(file_ledger.claim(FILE, RUN), status)
    file_ledger.record(entry)
    found = file_ledger.settled(FILE.model_copy(update=known))
    assert found is not None
    assert entry.model_dump_json() == found.model_dump_json()


def test_the_newest_version_that_moved_on_is_found_if_none_is_asked_for(file_ledger: FileLedger) -> None:
    for version, day in (("v1", 1), ("v3", 3), ("v2", 2)):
        entry = finished(file_ledger.claim(FILE.model_copy(update={"version_id": version}), RUN), "archived")
        file_ledger.record(entry.model_copy(update={"claimed_at": datetime(2026, 11, day, tzinfo=UTC)}))
    found = file_ledger.settled(SensorFile(bucket="landing", key=FILE.key))
    assert found is not None
    assert "v3" == found.version


@pytest.mark.parametrize("other", [{"version_id": "v2"}, {"key": "incoming/b.csv"}])
def test_another_version_or_file_has_not_moved_on(file_ledger: FileLedger, other: dict[str, str]) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "archived"))
    assert None is file_ledger.settled(FILE.model_copy(update=other))


def test_a_file_that_is_being_loaded_has_not_moved_on(file_ledger: FileLedger) -> None:
    file_ledger.claim(FILE, RUN)
    assert None is file_ledger.settled(FILE)


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


# ---- Whether it is in hand ----------------------------------------------------------------------------------------


def test_a_file_is_in_hand_while_a_run_holds_any_version_of_it(file_ledger: FileLedger) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "archived"))
    file_ledger.claim(FILE.model_copy(update={"version_id": "v2"}), ANOTHER_RUN)
    assert file_ledger.is_in_hand(SensorFile(bucket="landing", key=FILE.key))


def test_a_file_that_never_came_is_in_nobodys_hand(file_ledger: FileLedger) -> None:
    assert not file_ledger.is_in_hand(FILE)


def test_a_file_is_in_nobodys_hand_once_it_is_settled(file_ledger: FileLedger) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "refused"))
    assert not file_ledger.is_in_hand(FILE)


def test_a_file_is_in_nobodys_hand_once_the_lease_is_over(file_ledger: FileLedger) -> None:
    expired(file_ledger).claim(FILE, RUN)
    assert not file_ledger.is_in_hand(FILE)
