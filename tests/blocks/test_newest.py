"""The ledger's entries, newest first, through the index by month."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from tests.blocks.conftest import Line

NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = (0, 1, 40, 200)


@pytest.fixture
def history(file_ledger: FileLedger) -> FileLedger:
    for days in DAYS:
        claimed_at = NOW - timedelta(days=days)
        entry = LedgerEntry(bucket="landing", key=f"{days}", version="v", status="failed", claimed_at=claimed_at)
        file_ledger.record(entry)
    return file_ledger


def test_entries_come_newest_first_across_months_that_are_empty(history: FileLedger) -> None:
    assert [str(days) for days in DAYS] == [entry.key for entry in history.newest(20)]


def test_no_more_come_than_were_asked_for(history: FileLedger) -> None:
    assert ["0", "1", "40"] == [entry.key for entry in history.newest(3)]


def test_what_was_claimed_before_is_left_out(history: FileLedger) -> None:
    assert ["0", "1"] == [entry.key for entry in history.newest(20, NOW - timedelta(days=30))]


def test_many_come_page_by_page_and_few_are_one_question(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    keys = [f"{number:03}" for number in range(30)]
    for key in keys:
        moment = NOW - timedelta(seconds=int(key))
        file_ledger.record(
            LedgerEntry(
                bucket="landing", key=key, version="v", status="archived", claimed_at=moment, problem="x" * 90_000
            )
        )
    with dynamodb_line.answering("Query"):
        found = [entry.key for entry in file_ledger.newest(1000)]
    assert keys == found
    assert len(dynamodb_line.calls) > 2, "30 entries of 90 kB are more than the 1 MB of one answer"
    dynamodb_line.calls.clear()
    with dynamodb_line.answering("Query"):
        assert keys[:5] == [entry.key for entry in file_ledger.newest(5)]
    assert len(dynamodb_line.calls) <= 2, "one, and another where a month has just begun"
