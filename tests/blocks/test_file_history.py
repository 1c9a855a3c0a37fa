"""What the ledger remembers of a file."""

from datetime import UTC, datetime
from typing import Any

import pytest

from blocks.domain.errors import ClaimedElsewhereError
from blocks.domain.models import FileReport, FileStatus, LedgerEntry, Reject, SensorFile, utc_text
from blocks.file_ledger import FileLedger
from blocks.file_ledger.table import to_item
from tests.blocks.ledger_entries import ANOTHER_RUN, FILE, RUN, expired, finished

TELLER = "run-of-notify"


def test_everything_that_is_known_of_a_file_is_remembered(file_ledger: FileLedger) -> None:
    entry = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(entry)
    [remembered] = file_ledger.entries_of("landing", FILE.key)
    assert entry.model_dump_json() == remembered.model_dump_json()


def test_a_run_that_lost_the_file_to_another_writes_nothing_and_is_told_who_has_it(file_ledger: FileLedger) -> None:
    too_slow = expired(file_ledger).claim(FILE, RUN)
    file_ledger.claim(FILE, ANOTHER_RUN)
    for status in ("loaded", "archived"):
        with pytest.raises(ClaimedElsewhereError, match=ANOTHER_RUN):
            file_ledger.record(too_slow.model_copy(update={"status": status}))
    assert [ANOTHER_RUN] == [entry.flow_run_id for entry in file_ledger.entries_of("landing", FILE.key)]


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


@pytest.mark.parametrize("other", [{"version_id": "v2", "etag": "e2"}, {"key": "incoming/b.csv"}])
def test_another_version_or_file_has_not_moved_on(file_ledger: FileLedger, other: dict[str, str]) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "archived"))
    assert None is file_ledger.settled(FILE.model_copy(update=other))


def test_a_version_with_the_same_bytes_was_cleared_away_with_the_one_that_was_loaded(file_ledger: FileLedger) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "archived"))
    found = file_ledger.settled(FILE.model_copy(update={"version_id": "v2"}))
    assert found is not None
    assert "v1" == found.version


def test_a_file_that_is_being_loaded_has_not_moved_on(file_ledger: FileLedger) -> None:
    file_ledger.claim(FILE, RUN)
    assert None is file_ledger.settled(FILE)


def test_that_people_were_told_is_noted_in_the_entry_of_that_version(file_ledger: FileLedger) -> None:
    told = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(told)
    file_ledger.claim(FILE.model_copy(update={"version_id": "v2"}), RUN)
    file_ledger.mark_notified(told, by=TELLER)
    entries = {entry.version: entry for entry in file_ledger.entries_of("landing", FILE.key)}
    assert entries["v1"].notified_at is not None
    assert entries["v2"].notified_at is None
    assert (
        told.model_dump_json()
        == entries["v1"].model_copy(update={"notified_at": None, "notified_by": None}).model_dump_json()
    )


def test_telling_people_about_a_file_that_was_missing_makes_up_no_entry(file_ledger: FileLedger) -> None:
    file_ledger.mark_notified(FileReport(bucket="landing", key=FILE.key, version="v1", status="missing"), by=TELLER)
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


# ---- Older and newer versions --------------------------------------------------------------------------------------


def test_a_version_that_came_after_another_is_known_by_the_order_that_s3_gives_to_events(
    file_ledger: FileLedger,
) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE.model_copy(update={"sequencer": "0A2"}), RUN), "archived"))
    older = FILE.model_copy(update={"version_id": "v0", "sequencer": "09FFFF"})
    newer = FILE.model_copy(update={"version_id": "v2", "sequencer": "0A3"})
    found = file_ledger.newer_than(older)
    assert found is not None
    assert "v1" == found.version
    assert None is file_ledger.newer_than(newer)
    assert None is file_ledger.newer_than(older.model_copy(update={"sequencer": None}))


def test_a_version_that_was_replaced_before_it_was_loaded_is_noted_once(file_ledger: FileLedger) -> None:
    older = FILE.model_copy(update={"version_id": "v0"})
    entry = file_ledger.supersede(older, "v1", RUN)
    assert entry is not None
    assert ("superseded", "v0") == (entry.status, entry.version)
    assert "v1" in str(entry.problem)
    assert None is file_ledger.supersede(older, "v1", ANOTHER_RUN)
    assert [] == file_ledger.unfinished()


def test_a_version_that_was_loaded_is_not_noted_as_replaced(file_ledger: FileLedger) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "archived"))
    assert None is file_ledger.supersede(FILE, "v2", ANOTHER_RUN)
    assert ["archived"] == [entry.status for entry in file_ledger.entries_of("landing", FILE.key)]


# ---- What is unfinished --------------------------------------------------------------------------------------------


def test_a_file_is_unfinished_until_people_were_told_of_it(file_ledger: FileLedger) -> None:
    entry = file_ledger.claim(FILE, RUN)
    assert [("loading", "v1")] == [(each.status, each.version) for each in file_ledger.unfinished()]
    told = finished(entry, "archived")
    file_ledger.record(told)
    assert ["archived"] == [each.status for each in file_ledger.unfinished()]
    file_ledger.mark_notified(told, by=TELLER)
    assert [] == file_ledger.unfinished()


def test_that_people_heard_of_a_failed_load_does_not_finish_the_file(file_ledger: FileLedger) -> None:
    entry = file_ledger.claim(FILE, RUN)
    file_ledger.release(entry, "no")
    file_ledger.mark_notified(entry.model_copy(update={"status": "failed"}), by=TELLER)
    assert [("loading", None)] == [(each.status, each.notified_at) for each in file_ledger.unfinished()]


def test_what_came_to_an_end_by_itself_is_closed_unless_a_run_holds_it(file_ledger: FileLedger) -> None:
    held = file_ledger.claim(FILE, RUN)
    file_ledger.close(held, "missing", "gone")
    assert ["loading"] == [entry.status for entry in file_ledger.entries_of("landing", FILE.key)]
    file_ledger.release(held)
    file_ledger.close(held, "missing", "gone")
    assert [("missing", "gone")] == [
        (entry.status, entry.problem) for entry in file_ledger.entries_of("landing", FILE.key)
    ]


def test_whether_people_were_told_of_a_file_depends_on_the_run_that_dealt_with_it(file_ledger: FileLedger) -> None:
    entry = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(entry)
    assert file_ledger.notifying_run(entry) is None
    file_ledger.mark_notified(entry, by=TELLER)
    assert TELLER == file_ledger.notifying_run(entry)
    assert file_ledger.notifying_run(entry.model_copy(update={"flow_run_id": ANOTHER_RUN})) is None
    assert file_ledger.notifying_run(entry.model_copy(update={"version": "never"})) is None


def test_an_email_about_a_load_is_not_noted_in_the_entry_of_the_next_one(file_ledger: FileLedger) -> None:
    first = finished(file_ledger.claim(FILE, RUN), "archived")
    file_ledger.record(first)
    again = finished(file_ledger.claim(FILE, ANOTHER_RUN, again=True), "archived")
    file_ledger.record(again)
    file_ledger.mark_notified(first, by=TELLER)
    assert ["archived"] == [each.status for each in file_ledger.unfinished()]
    assert file_ledger.notifying_run(again) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"claimed_at": "2026-11-22T20:00:00"},
        {"claimed_at": "9" * 30},
        {"attempts": "many"},
        {"status": "somewhere"},
        {"summary": {"sensors": 1, "first": 0, "last": 10**30}},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_an_invalid_item_hides_no_other_entry(
    file_ledger: FileLedger, odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    entry = file_ledger.claim(FILE, RUN)
    attributes = {"file": "landing/odd.csv", "unfinished": "yes", "month": utc_text(entry.claimed_at)[:7]}
    item = attributes | entry.model_dump(mode="json", exclude_none=True) | {"key": "odd.csv"} | odd
    file_ledger._client("dynamodb").put_item(TableName=file_ledger.table_name, Item=to_item(item))  # noqa: SLF001
    assert [FILE.key] == [each.key for each in file_ledger.unfinished()]
    assert [FILE.key] == [each.key for each in file_ledger.newest(9)]
    assert "landing/odd.csv" in caplog.text
