"""What the ledger records of files, and how it is found."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.domain.models import FileStatus, LedgerEntry, Reject, SensorFile, utc_text
from blocks.file_ledger import FileLedger
from blocks.file_ledger.table import entry_attributes
from deployments.commands.history.entries import SHOWN_FIELDS
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import FILE, elsewhere, finished, load, own, put_raw, version

NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = (0, 1, 40, 200)
ANY_VERSION = SensorFile(bucket="landing", key=FILE.key)


def put(ledger: FileLedger, key: str, claimed_at: datetime, **more: object) -> None:
    fields = {"bucket": "landing", "version": "v", "status": "archived", **more}
    put_raw(ledger, **entry_attributes(LedgerEntry.model_validate({"key": key, "claimed_at": claimed_at, **fields})))


# ---- One file -------------------------------------------------------------------------------------------------------


def test_everything_that_is_known_of_a_file_is_recorded(file_ledger: FileLedger) -> None:
    entry = finished(load(file_ledger).entry, "archived")
    [recorded] = file_ledger.entries_of("landing", FILE.key)
    assert entry.model_dump_json() == recorded.model_dump_json()


def test_a_file_that_never_came_has_no_entries(file_ledger: FileLedger) -> None:
    assert [] == file_ledger.entries_of("landing", "incoming/never.csv")
    assert file_ledger.entry(FILE) is None
    assert file_ledger.archived(FILE) is None


def test_all_versions_of_a_file_are_recorded_however_many(file_ledger: FileLedger) -> None:
    rejects = [Reject(line=1, reason="value", text="x" * 1000)] * 10
    versions = [f"v{number:03}" for number in range(120)]  # more than the 1 MB that one answer of DynamoDB holds
    for name in versions:
        put(file_ledger, FILE.key, NOW, version=name, first_rejects=rejects)
    assert versions == sorted(entry.version for entry in file_ledger.entries_of("landing", FILE.key))


@pytest.mark.parametrize("status", ["archived", "refused", "failed", "missing"])
@pytest.mark.parametrize("known", [{}, {"version_id": None}, {"version_id": None, "etag": None}, {"size": 9}])
def test_the_entry_of_a_version_is_found_by_whatever_is_known_of_it(
    file_ledger: FileLedger, status: FileStatus, known: dict[str, None]
) -> None:
    load(file_ledger, status=status)
    file = FILE.model_copy(update=known)
    found, archived = file_ledger.entry(file), file_ledger.archived(file)
    assert found
    assert ("v1", status) == (found.version, found.status)
    assert (archived is not None) == (status == "archived")


@pytest.mark.parametrize("other", [{"version_id": "v2", "etag": "e2"}, {"key": "incoming/b.csv"}])
def test_another_version_or_file_has_no_entry(file_ledger: FileLedger, other: dict[str, str]) -> None:
    load(file_ledger)
    assert file_ledger.entry(FILE.model_copy(update=other)) is None
    assert file_ledger.archived(FILE.model_copy(update=other)) is None


def test_the_version_that_was_claimed_last_is_found_if_none_is_given_whatever_clocks_say(
    file_ledger: FileLedger,
) -> None:
    for name in ("v1", "v3", "v2"):
        load(file_ledger, version(name))
    entries = {entry.version: entry for entry in file_ledger.entries_of("landing", FILE.key)}
    ahead = entry_attributes(entries["v3"].model_copy(update={"claimed_at": NOW + timedelta(minutes=5)}))
    put_raw(file_ledger, **ahead)
    found = file_ledger.entry(ANY_VERSION), file_ledger.archived(ANY_VERSION)
    assert ["v2", "v2"] == [entry.version for entry in found if entry]


def test_a_version_that_is_loaded_for_the_first_time_is_not_archived(file_ledger: FileLedger) -> None:
    own(file_ledger)
    assert file_ledger.archived(FILE) is None


def test_a_version_whose_second_load_did_not_end_is_archived(file_ledger: FileLedger) -> None:
    entry = finished(load(file_ledger).entry, "archived")
    file_ledger.claim_archived(entry, "c2", "a run")
    found = file_ledger.archived(FILE)
    assert found
    assert ("loading", entry.archived_to) == (found.status, found.archived_to)


# ---- All files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def history(file_ledger: FileLedger) -> FileLedger:
    for days in DAYS:
        put(file_ledger, str(days), NOW - timedelta(days=days), status="failed")
    return file_ledger


def test_entries_come_newest_first_across_months_that_are_empty(history: FileLedger) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    expected = [str(days) for days in DAYS if NOW - timedelta(days=days) >= first]
    assert expected == [entry.key for entry in history.newest(20)]


def test_no_more_come_than_were_asked_for(history: FileLedger) -> None:
    assert ["0", "1", "40"] == [entry.key for entry in history.newest(3)]
    assert [] == list(history.newest(0))


def test_what_was_claimed_before_is_left_out(history: FileLedger) -> None:
    assert ["0", "1"] == [entry.key for entry in history.newest(20, NOW - timedelta(days=30))]


def test_of_fields_that_were_not_asked_for_only_defaults_are_known(file_ledger: FileLedger) -> None:
    counts = {"lines": 3, "rows": 3, "accepted": 2, "rejected": 1}
    rejects = [Reject(line=3, reason="value", text="x")]
    put(file_ledger, "a.csv", NOW, problem="a reserved word", first_rejects=rejects, **counts)
    [whole], [part] = file_ledger.newest(9), file_ledger.newest(9, fields=SHOWN_FIELDS)
    assert {"first_rejects"} == {name for name, value in whole if value != getattr(part, name)}
    assert part.first_rejects == []


def test_claims_and_emails_are_no_entries(file_ledger: FileLedger) -> None:
    own(file_ledger)
    elsewhere(file_ledger, version("v2"))
    file_ledger.collect("e1", [FILE], 0)
    assert ["v1", "v2"] == sorted(entry.version for entry in file_ledger.newest(20))
    assert ["v1", "v2"] == sorted(entry.version for entry in file_ledger.entries_of("landing", FILE.key))


def test_many_come_page_by_page_and_few_are_one_question(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    keys = [f"{number:03}" for number in range(30)]
    for key in keys:
        put(file_ledger, key, NOW - timedelta(seconds=int(key)), problem="x" * 90_000)
    with dynamodb_line.answering("Query"):
        found = [entry.key for entry in file_ledger.newest(1000)]
    assert keys == found
    assert len(dynamodb_line.calls) > 2, "30 entries of 90 kB are more than the 1 MB of one answer"
    dynamodb_line.calls.clear()
    with dynamodb_line.answering("Query"):
        assert keys[:5] == [entry.key for entry in file_ledger.newest(5)]
    assert len(dynamodb_line.calls) <= 2, "one, and another where a month has just begun"


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
    file_ledger: FileLedger, odd: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    entry = own(file_ledger).entry
    month = utc_text(entry.claimed_at)[:7]
    put_raw(
        file_ledger, **{**entry_attributes(entry), "file": "landing/odd.csv", "key": "odd.csv", "month": month, **odd}
    )
    assert [FILE.key] == [each.key for each in file_ledger.newest(9)]
    assert "landing/odd.csv" in caplog.text


def test_loading_works_in_general_if_another_file_was_archived_since(file_ledger: FileLedger) -> None:
    entry = own(file_ledger).entry
    before = entry.claimed_at - timedelta(seconds=1)
    assert not file_ledger.archived_since(before, other_than=entry)
    load(file_ledger, FILE.model_copy(update={"key": "incoming/refused.csv"}), "refused")
    assert not file_ledger.archived_since(before, other_than=entry)
    load(file_ledger, version("v2", key="incoming/b.csv"))
    assert file_ledger.archived_since(before, other_than=entry)
    assert not file_ledger.archived_since(entry.claimed_at + timedelta(hours=1), other_than=entry)
