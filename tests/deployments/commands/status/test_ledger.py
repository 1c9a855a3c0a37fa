"""What is read of a ledger that its block has written."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from blocks.file_ledger.table import entry_attributes
from deployments.commands.status import ledger as module
from deployments.commands.status.ledger import NEWEST_SHOWN, LedgerReader
from deployments.commands.status.seen import Count
from tests.blocks.ledger_entries import (
    FILE,
    LANDED_AT,
    archived,
    load,
    own,
    pass_time,
    put_raw,
    release,
    settle,
    version,
)
from tests.deployments.commands.status.statuses import entry

FILES = [FILE.model_copy(update={"key": f"incoming/{number:03}.csv"}) for number in range(9)]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def calls(reader: LedgerReader) -> Iterator[list[str]]:
    """The operations that the reader calls."""
    made: list[str] = []
    events = reader._dynamodb.meta.events  # noqa: SLF001 - the line to AWS

    def note(event_name: str, **_: Any) -> None:  # noqa: ANN401 - botocore's own
        made.append(event_name.rpartition(".")[2])

    events.register("before-send.dynamodb", note)
    yield made
    events.unregister("before-send.dynamodb", note)


def test_an_empty_ledger(ledger: FileLedger, reader: LedgerReader) -> None:
    assert ledger.table_name
    seen = reader.look()
    assert ((), (), ()) == (seen.held, seen.next, seen.newest)
    assert (Count(0), Count(0), Count(0)) == (seen.due_files, seen.later_files, seen.emails)
    assert (None, None) == (seen.due_files_since, seen.due_emails_since)


def test_a_file_that_a_run_holds_is_not_due(ledger: FileLedger, reader: LedgerReader) -> None:
    own(ledger)
    seen = reader.look()
    [held] = seen.held
    assert ("s3://landing/" + FILE.key, "run of c1") == (held.file, held.run)
    assert timedelta(seconds=55) < held.until - seen.at < timedelta(seconds=63)
    assert ((), Count(0), Count(1)) == (seen.next, seen.due_files, seen.later_files)
    assert ["loading"] == [each.status for each in seen.newest]


def test_a_file_whose_load_failed_is_tried_again_later(ledger: FileLedger, reader: LedgerReader) -> None:
    release(ledger, own(ledger))
    seen = reader.look()
    [due] = seen.next
    assert ("file", "s3://landing/" + FILE.key, "retry") == (due.what, due.about, due.why)
    assert due.at > seen.at
    assert ((), Count(0)) == (seen.held, seen.due_files)


def test_a_file_that_was_announced_and_not_claimed_is_due(ledger: FileLedger, reader: LedgerReader) -> None:
    pass_time(ledger, -20 * 60)
    ledger.expect(FILES[:1], MINUTE)
    pass_time(ledger, 10 * 60)
    ledger.expect(FILES[1:2], MINUTE)
    seen = reader.look()
    assert [("announced", FILES[0].uri), ("announced", FILES[1].uri)] == [(each.why, each.about) for each in seen.next]
    assert seen.due_files_since is not None
    assert timedelta(minutes=18) < seen.at - seen.due_files_since < timedelta(minutes=20)
    assert (Count(2), Count(0)) == (seen.due_files, seen.later_files)


def test_a_file_of_a_run_that_died_is_due_and_no_run_holds_it(ledger: FileLedger, reader: LedgerReader) -> None:
    pass_time(ledger, -5 * 60)
    own(ledger)
    seen = reader.look()
    assert (["lease ended"], (), Count(1)) == ([each.why for each in seen.next], seen.held, seen.due_files)


def test_a_reload_is_due_as_such(ledger: FileLedger, reader: LedgerReader) -> None:
    pass_time(ledger, -120)
    own(ledger)
    pass_time(ledger, 120)
    load(ledger, version("v2"), claim_id="c2")
    seen = reader.look()
    assert ["reload"] == [each.why for each in seen.next]


def test_an_email_that_waits_is_due_when_its_wait_ends(ledger: FileLedger, reader: LedgerReader) -> None:
    owned = own(ledger, email_id="e1")
    ledger.collect("e1", [FILE], 600)
    assert (Count(1), []) == (reader.look().emails, [each for each in reader.look().next if each.what == "email"])
    settle(ledger, owned)
    assert not ledger.end_claim(owned.held)
    assert ledger.finish_collecting("e1", [archived(ledger)], timedelta(minutes=10))
    seen = reader.look()
    [due] = seen.next
    assert ("email", "a b+c%20é.csv", "wait ends") == (due.what, due.about, due.why)
    assert timedelta(minutes=9) < due.at - seen.at < timedelta(minutes=11)
    assert (Count(1), None) == (seen.emails, seen.due_emails_since)


def test_an_email_that_no_run_sent_is_overdue(ledger: FileLedger, reader: LedgerReader) -> None:
    load(ledger)
    pass_time(ledger, -30 * 60)
    ledger.collect("e1", [FILE], 600)
    assert ledger.finish_collecting("e1", [archived(ledger)], timedelta(minutes=10))
    claimed = ledger.claim_email("e1", "c9", [archived(ledger)], [["ada@example.com"]])
    assert claimed is not None
    ledger.put_off_email(claimed)
    pass_time(ledger, 60)
    [due] = ledger.due_emails()
    assert ledger.take_up_email(due, counts=True)
    seen = reader.look()
    assert ["try 2"] == [each.why for each in seen.next]
    assert seen.due_emails_since is not None
    assert seen.at - seen.due_emails_since > timedelta(minutes=20)


def test_the_newest_entries_come_first_over_the_turn_of_a_month(ledger: FileLedger, reader: LedgerReader) -> None:
    first = reader.look().at.replace(day=1, hour=0, minute=0, second=0)
    for number in range(NEWEST_SHOWN + 2):
        write(ledger, entry(f"{number:02}.csv", claimed_at=first + (6 - number) * MINUTE))
    put_raw(
        ledger,
        file="landing/x",
        version="v",
        month=f"{first:%Y-%m}",
        claimed_at=f"{first:%Y-%m-%d}T00:00:30",
        status="?",
    )
    seen = reader.look().newest
    # The item that is no entry takes a place of the ten that are read.
    assert [f"{number:02}.csv" for number in range(NEWEST_SHOWN - 1)] == [each.name for each in seen]


def test_a_ledger_of_any_size_takes_the_same_few_calls(
    ledger: FileLedger, reader: LedgerReader, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNTED", 5)
    monkeypatch.setattr(module, "READ", 3)
    ledger.expect(FILES, MINUTE)
    pass_time(ledger, -5 * 60)
    own(ledger)
    ledger.expect([each.model_copy(update={"key": f"{each.key}.late"}) for each in FILES], MINUTE)
    for number in range(NEWEST_SHOWN + 1):
        write(ledger, entry(f"{number:02}.csv", claimed_at=reader.look().at - number * timedelta(milliseconds=1)))
    calls.clear()
    seen = reader.look()
    assert (Count(5, more=True), Count(5, more=True)) == (seen.due_files, seen.later_files)
    assert (True, NEWEST_SHOWN) == (seen.held_more, len(seen.newest))
    assert ["BatchGetItem"] * 2 + ["Query"] * 4 == sorted(calls)


def write(ledger: FileLedger, each: LedgerEntry) -> None:
    put_raw(ledger, **entry_attributes(each))


# ---- Whether a file is known -----------------------------------------------------------------------------------------


def knows(reader: LedgerReader, etag: str = "e1") -> bool:
    file = f"landing/{FILE.key}"
    assert [] == list(reader.unknown([]))
    return [] == list(reader.unknown([(file, etag)]))


def test_a_file_is_known_while_it_is_looked_at_again(ledger: FileLedger, reader: LedgerReader) -> None:
    assert not knows(reader)
    owned = own(ledger)
    assert knows(reader)
    release(ledger, owned)
    assert knows(reader)


def test_of_an_archived_file_the_same_bytes_are_not_known(ledger: FileLedger, reader: LedgerReader) -> None:
    load(ledger)
    assert not knows(reader)


def test_a_version_that_failed_for_good_where_it_landed_is_known_and_another_one_is_not(
    ledger: FileLedger, reader: LedgerReader
) -> None:
    owned = own(ledger)
    failed = {"status": "failed", "finished_at": LANDED_AT, "problem": "it is encrypted with a key of its sender"}
    ledger.settle(owned.held, owned.entry.model_copy(update=failed))
    ledger.end_claim(owned.held)
    assert (True, False) == (knows(reader), knows(reader, "e2"))
