"""What is looked at again, and when."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from operator import attrgetter
from typing import Any

import pytest

from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_table import WRITES_AT_ONCE
from tests.blocks.conftest import Line, refusal
from tests.blocks.ledger_entries import (
    FILE,
    claim_now,
    elsewhere,
    load,
    own,
    pass_time,
    put_raw,
    seconds_until,
    version,
)

RELAY = timedelta(seconds=90)
KEYS = [f"incoming/{number:03}.csv" for number in range(WRITES_AT_ONCE + 9)]
FILES = [FILE.model_copy(update={"key": key}) for key in KEYS]


def due_keys(ledger: FileLedger, limit: int | None = None) -> list[str]:
    return [due.claim.key for due in ledger.due_files(limit)]


def claims_of(ledger: FileLedger) -> dict[str, Any]:
    return {file.key: claim_now(ledger, file) for file in FILES}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


# ---- What is expected -----------------------------------------------------------------------------------------------


def test_an_announced_key_is_due_unless_a_run_claims_it_in_time(file_ledger: FileLedger) -> None:
    file_ledger.expect(FILES[:2], RELAY)
    assert [] == due_keys(file_ledger)
    load(file_ledger, FILES[0])
    pass_time(file_ledger, 88)
    assert [] == due_keys(file_ledger)
    pass_time(file_ledger, 4)
    assert [KEYS[1]] == due_keys(file_ledger)
    [due] = file_ledger.due_files()
    assert (None, 0, ()) == (due.entry, due.claim.epoch, due.claim.unsettled)


def test_many_keys_are_expected_in_few_writes_also_where_a_run_holds_one(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    held = own(file_ledger, FILES[7]).held
    with dynamodb_line.answering("TransactWriteItems"):
        file_ledger.expect([*FILES, *FILES], RELAY)
    assert 2 == len(dynamodb_line.calls)
    claims = claims_of(file_ledger)
    kept = claims.pop(KEYS[7])
    assert ("c1", held.claim.lease_until) == (kept.claim_id, kept.next_try_at)
    assert 60 < seconds_until(file_ledger, kept.expected_by) < 93
    assert all(60 < seconds_until(file_ledger, claim.next_try_at) < 93 for claim in claims.values())


def test_a_key_that_is_claimed_in_between_keeps_no_other_from_being_expected(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    def claim() -> None:
        own(file_ledger, FILES[3])

    with dynamodb_line.before("TransactWriteItems", claim):
        file_ledger.expect(FILES[:9], RELAY)
    claims = claims_of(file_ledger)
    assert "c1" == claims[KEYS[3]].claim_id
    assert claims[KEYS[3]].next_try_at == claims[KEYS[3]].lease_until
    assert all(claims[key].next_try_at for key in KEYS[:9])


@pytest.mark.parametrize("count", [1, 2])
def test_a_key_is_expected_although_another_transaction_is_at_work_on_it(
    file_ledger: FileLedger, dynamodb_line: Line, count: int
) -> None:
    operation, code = [
        ("PutItem", "TransactionConflictException"),
        ("TransactWriteItems", "TransactionConflictException"),
    ][count - 1]
    with dynamodb_line.answering(operation, refusal(400, code)):
        file_ledger.expect(FILES[:count], RELAY)
    assert all(claim_now(file_ledger, file).next_try_at for file in FILES[:count])


@pytest.mark.parametrize("count", [1, 3])
def test_expectations_whose_answer_was_lost_are_written_once(
    file_ledger: FileLedger, dynamodb_line: Line, count: int
) -> None:
    with dynamodb_line.sent_twice("PutItem" if count == 1 else "TransactWriteItems"):
        file_ledger.expect(FILES[:count], RELAY)
    assert {1} == {claim_now(file_ledger, file).revision for file in FILES[:count]}


def test_a_key_whose_run_died_is_announced_once_and_again_after_a_while(file_ledger: FileLedger) -> None:
    own(file_ledger)
    pass_time(file_ledger, 65)
    assert [FILE.key] == due_keys(file_ledger)
    file_ledger.expect([FILE], RELAY)
    assert [] == due_keys(file_ledger)
    pass_time(file_ledger, 93)
    assert [FILE.key] == due_keys(file_ledger)


def test_an_expected_key_in_its_back_off_is_due_no_later_than_expected(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    file_ledger.release(owned.held, owned.entry.model_copy(update={"tries": 20}), "no")
    file_ledger.expect([FILE], RELAY)
    pass_time(file_ledger, 93)
    assert [("v1", "waiting")] == [
        (due.entry.version, due.entry.status) for due in file_ledger.due_files() if due.entry
    ]


# ---- Due files ------------------------------------------------------------------------------------------------------


def fail_in_turn(ledger: FileLedger, keys: list[str]) -> None:
    """The keys are due, each a little later than the one before."""
    for seconds, key in enumerate(keys):
        file = FILE.model_copy(update={"key": key})
        ledger.expect([file], timedelta(seconds=seconds - 1000))


def test_due_files_come_in_the_order_of_their_times_however_many(file_ledger: FileLedger) -> None:
    keys = [f"incoming/{number * 37 % 230:03}.csv" for number in range(230)]
    fail_in_turn(file_ledger, keys)
    assert keys == due_keys(file_ledger)
    assert keys[:3] == due_keys(file_ledger, 3)
    assert keys[:150] == due_keys(file_ledger, 150)


def reverse_items(parsed: dict[str, Any], **_: object) -> None:
    """BatchGetItem answers in no particular order."""
    for items in parsed.get("Responses", {}).values():
        items.reverse()


def test_what_is_due_comes_in_order_whatever_the_order_of_an_answer(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    fail_in_turn(file_ledger, KEYS)
    collect(file_ledger, "e1", "e2", "e3")
    pass_time(file_ledger, 65)
    with dynamodb_line.on("after-call.dynamodb.BatchGetItem", reverse_items):
        assert KEYS == due_keys(file_ledger)
        assert ["e1", "e2", "e3"] == due_emails(file_ledger)


def test_a_few_due_files_are_read_in_small_pages(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    fail_in_turn(file_ledger, KEYS)
    bodies: list[str] = []
    with dynamodb_line.on("before-send.*", lambda request, **_: bodies.append(request.body.decode())):
        assert KEYS[:2] == due_keys(file_ledger, 2)
    assert ['"Limit": 2' in body for body in bodies if "KeyConditionExpression" in body]
    assert sum(body.count("#claim") for body in bodies) <= 4


def test_a_due_file_comes_with_the_entry_of_the_version_that_came_last(file_ledger: FileLedger) -> None:
    own(file_ledger)
    elsewhere(file_ledger, version("v2"))
    pass_time(file_ledger, 65)
    [due] = file_ledger.due_files()
    assert due.entry
    assert (("v1", "v2"), "v2", "waiting") == (due.claim.unsettled, due.entry.version, due.entry.status)


def test_a_key_that_is_not_due_any_more_by_the_table_is_left_out_whatever_the_index_says(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    """An index is a moment behind its table."""
    file_ledger.expect(FILES[:2], timedelta(seconds=-9))
    with dynamodb_line.before("BatchGetItem", lambda: own(file_ledger, FILES[0])):
        assert [KEYS[1]] == due_keys(file_ledger)


def test_a_settled_key_is_not_due(file_ledger: FileLedger) -> None:
    load(file_ledger)
    pass_time(file_ledger, 10**6)
    assert [] == due_keys(file_ledger)


DUE = {"waits_for": "load", "next_try_at": "2026-01-01T00:00:00.000+00:00", "version": "#claim"}
CLAIM = {**DUE, "bucket": "landing", "key": "odd.csv", "file": "landing/odd.csv", "revision": 1, "epoch": 1}


@pytest.mark.parametrize(
    "odd",
    [
        {"bucket": None},
        {"revision": "many"},
        {"next_try_at": "2026-01-01T00:00:00"},
        {"next_try_at": "2026"},
        {"lease_until": 7},
        {"version": "v1"},
        {"unsettled": 3},
    ],
    ids=lambda odd: "-".join(map(str, *odd.items())),
)
def test_a_due_item_that_somebody_else_wrote_keeps_no_other_out(
    file_ledger: FileLedger, odd: dict[str, object], log: pytest.LogCaptureFixture
) -> None:
    item = {name: value for name, value in {**CLAIM, **odd}.items() if value is not None}
    put_raw(file_ledger, **item)
    file_ledger.expect([FILE], timedelta(seconds=-9))
    assert [FILE.key] == due_keys(file_ledger)
    assert [FILE.key] == due_keys(file_ledger, 1)
    assert ("landing/odd.csv #claim" in log.text) == (item["version"] == "#claim")


def test_a_due_file_whose_entry_somebody_else_broke_is_due_without_it(
    file_ledger: FileLedger, log: pytest.LogCaptureFixture
) -> None:
    owned = own(file_ledger)
    file_ledger.release(owned.held, owned.entry, "no")
    put_raw(file_ledger, file=f"landing/{FILE.key}", version="v1", status="odd")
    pass_time(file_ledger, 14)
    assert [None] == list(map(attrgetter("entry"), file_ledger.due_files()))
    assert f"landing/{FILE.key} v1" in log.text


# ---- How many wait --------------------------------------------------------------------------------------------------


def test_keys_that_wait_or_are_being_loaded_are_counted_up_to_a_limit(file_ledger: FileLedger) -> None:
    assert 0 == file_ledger.waiting_keys(5)
    own(file_ledger, FILES[0])
    failed = own(file_ledger, FILES[1])
    file_ledger.release(failed.held, failed.entry, "no")
    file_ledger.expect([FILES[2]], RELAY)
    load(file_ledger, FILES[3])
    file_ledger.collect("an email", [FILE], 0)
    assert 3 == file_ledger.waiting_keys(5)
    assert 2 == file_ledger.waiting_keys(2)


# ---- Due emails -----------------------------------------------------------------------------------------------------


def collect(ledger: FileLedger, *ids: str) -> None:
    """Emails of runs that died one after the other."""
    for email_id in ids:
        ledger.collect(email_id, [FILE], 0)
        pass_time(ledger, 1)


def due_emails(ledger: FileLedger, limit: int | None = None) -> list[str]:
    return [email.email_id for email in ledger.due_emails(limit)]


def test_due_emails_come_in_the_order_of_their_times(file_ledger: FileLedger) -> None:
    ids = [str(number * 37 % 20) for number in range(20)]
    collect(file_ledger, *ids)
    assert [] == due_emails(file_ledger)
    pass_time(file_ledger, 65)
    assert ids == due_emails(file_ledger)
    assert ids[:3] == due_emails(file_ledger, 3)


def test_an_email_that_is_kept_or_sent_is_not_due(file_ledger: FileLedger) -> None:
    collect(file_ledger, "kept", "sent", "dead")
    kept = file_ledger.collect("kept", [FILE], 0)
    sent = file_ledger.claim_email("sent", "sent", [load(file_ledger).entry], [["ada@example.com"]])
    assert sent
    file_ledger.record_message(sent, ["ada@example.com"], "m1", "run-1")
    pass_time(file_ledger, 50)
    assert file_ledger.keep_email(kept)
    pass_time(file_ledger, 20)
    assert ["dead"] == due_emails(file_ledger)


@pytest.mark.parametrize("odd", [{"state": None}, {"groups": [3]}, {"files": [["a"]]}, {"due_at": "soon"}])
def test_an_email_that_somebody_else_wrote_keeps_no_other_out(
    file_ledger: FileLedger, odd: dict[str, object], log: pytest.LogCaptureFixture
) -> None:
    item = {
        "file": "#email/odd",
        "version": "#email",
        "email_id": "odd",
        "state": "waiting",
        "revision": 1,
        "waits_for": "email",
        "next_try_at": "2026-01-01T00:00:00.000+00:00",
    }
    put_raw(file_ledger, **{name: value for name, value in {**item, **odd}.items() if value is not None})
    collect(file_ledger, "e1")
    pass_time(file_ledger, 65)
    assert ["e1"] == due_emails(file_ledger, 1)
    assert "#email/odd" in log.text


def test_files_and_emails_are_due_apart(file_ledger: FileLedger) -> None:
    collect(file_ledger, "e1")
    file_ledger.expect([FILE], timedelta(0))
    pass_time(file_ledger, 65)
    assert ([FILE.key], ["e1"]) == (due_keys(file_ledger), due_emails(file_ledger))


# ---- Announced over and over ----------------------------------------------------------------------------------------


def test_a_key_that_no_run_claims_is_announced_at_intervals_that_double_up_to_an_hour(file_ledger: FileLedger) -> None:
    intervals = []
    for _ in range(12):
        file_ledger.expect([FILE], RELAY)
        intervals.append(round(seconds_until(file_ledger, claim_now(file_ledger).next_try_at), -1))
        pass_time(file_ledger, 4000)
    assert [90, 90, 90, 90, 90, 180, 360, 720, 1440, 2880, 3600, 3600] == intervals


@pytest.mark.parametrize("ends", ["claimed", "nothing"])
def test_a_key_that_a_run_has_looked_at_is_announced_at_the_first_interval(file_ledger: FileLedger, ends: str) -> None:
    for _ in range(9):
        file_ledger.expect([FILE], RELAY)
    if ends == "claimed":
        load(file_ledger)
    else:
        file_ledger.clear_due(claim_now(file_ledger), "c1")
    assert 0 == claim_now(file_ledger).announcements
    file_ledger.expect([FILE], RELAY)
    assert 85 < seconds_until(file_ledger, claim_now(file_ledger).next_try_at) < 93


def test_keys_that_were_never_announced_are_due_now_and_others_when_it_is_known(file_ledger: FileLedger) -> None:
    own(file_ledger, FILES[0])
    file_ledger.expect([FILES[1]], RELAY)
    load(file_ledger, FILES[2])
    file_ledger.make_due(FILES[:4])
    assert 0 == claim_now(file_ledger, FILES[3]).announcements
    pass_time(file_ledger, 3)
    assert KEYS[2:4] == sorted(due_keys(file_ledger))


def test_claims_come_in_the_order_in_which_they_were_asked_for(file_ledger: FileLedger) -> None:
    own(file_ledger, FILES[2])
    claims = file_ledger.claims_of([FILES[5], FILES[2], FILES[0]])
    assert [(KEYS[5], None), (KEYS[2], "c1"), (KEYS[0], None)] == [(claim.key, claim.claim_id) for claim in claims]
