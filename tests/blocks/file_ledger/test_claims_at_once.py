"""Claims of a key while another run or transaction is at work on it, or whose answer was lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned, OwnedElsewhere
from blocks.file_ledger.table_clock import TableClock
from blocks.runtime import Runtime, installed
from tests.blocks.conftest import Line, refusal
from tests.blocks.ledger_entries import (
    FILE,
    V2,
    claim_now,
    elsewhere,
    finished,
    holder,
    own,
    put_raw,
    statuses,
    version,
)


def test_of_many_runs_that_claim_at_once_exactly_one_gets_the_key(file_ledger: FileLedger) -> None:
    runs = 12
    together = Barrier(runs)

    def claim(number: int) -> str | None:
        together.wait()
        result = file_ledger.claim(FILE, f"c{number}", "a run")
        return f"c{number}" if isinstance(result, Owned) else None

    with ThreadPoolExecutor(runs) as pool:
        claimed = [claim_id for claim_id in pool.map(claim, range(runs)) if claim_id]
    assert [claim_now(file_ledger).claim_id] == claimed


def test_a_lease_that_may_not_have_expired_yet_is_not_taken(
    file_ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table's time is known to about a second."""
    until = own(file_ledger).held.claim.lease_until
    assert until
    monkeypatch.setattr(TableClock, "earliest", lambda _: until - timedelta(milliseconds=1))
    monkeypatch.setattr(TableClock, "latest", lambda _: until + timedelta(milliseconds=1))
    assert isinstance(file_ledger.claim(FILE, "c2", "another run"), OwnedElsewhere)


def test_a_renewal_whose_answer_was_lost_is_made_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    held = own(file_ledger).held
    with dynamodb_line.sent_twice("PutItem"):
        assert file_ledger.renew(held)
    assert (2, held.claim) == (held.claim.revision, claim_now(file_ledger))


def test_a_claim_whose_answer_was_lost_holds_the_key_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    with dynamodb_line.sent_twice("TransactWriteItems"):
        owned = own(file_ledger)
        again = own(file_ledger, FILE.model_copy(update={"key": "incoming/b.csv"}))
    assert ("c1", 1, "v1") == holder(owned.held)
    assert (1, 1) == (owned.entry.tries, owned.held.claim.revision)
    assert owned.held.claim == claim_now(file_ledger)
    assert 1 == again.held.claim.epoch


def test_a_run_that_is_faster_by_a_moment_gets_the_key(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    with dynamodb_line.before("TransactWriteItems", lambda: own(file_ledger, FILE, "c1")):
        elsewhere(file_ledger, FILE, "c2")
    assert "c1" == claim_now(file_ledger).claim_id


def test_a_version_is_noted_although_another_was_noted_a_moment_before(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    own(file_ledger)
    with dynamodb_line.before("TransactWriteItems", lambda: elsewhere(file_ledger, V2)):
        elsewhere(file_ledger, version("v3"))
    assert ("v1", "v2", "v3") == claim_now(file_ledger).unsettled


def test_a_version_that_is_to_be_noted_while_its_holder_ends_is_claimed(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    first = own(file_ledger)

    def end() -> None:
        file_ledger.settle(first.held, finished(first.entry, "archived"))
        file_ledger.end_claim(first.held)

    with dynamodb_line.before("TransactWriteItems", end):
        assert "c2" == own(file_ledger, V2, "c2").held.claim.claim_id


def test_an_archived_entry_is_not_overwritten_by_who_read_claim_and_entry_at_different_moments(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    """BatchGetItem reads items one by one: the entry here before its version was archived, the claim after."""
    first = own(file_ledger)
    [loading] = file_ledger.entries_of("landing", FILE.key)
    file_ledger.settle(first.held, archived := finished(first.entry, "archived"))
    raw = loading.model_dump(mode="json", exclude_none=True)

    def set_back() -> None:
        put_raw(file_ledger, file=f"landing/{FILE.key}", month="2026-11", **raw)

    def restore() -> None:
        put_raw(
            file_ledger,
            file=f"landing/{FILE.key}",
            month="2026-11",
            **archived.model_dump(mode="json", exclude_none=True),
        )

    set_back()
    with dynamodb_line.before("TransactWriteItems", restore):
        found = file_ledger.claim(FILE, "c2", "another run")
    assert isinstance(found, LedgerEntry)
    assert {"v1": "archived"} == statuses(file_ledger)
    assert () == claim_now(file_ledger).unsettled


@pytest.mark.parametrize("code", ["TransactionInProgressException", "TransactionConflictException"])
def test_a_claim_that_meets_another_transaction_is_made_again(
    file_ledger: FileLedger, dynamodb_line: Line, code: str
) -> None:
    with dynamodb_line.answering("TransactWriteItems", refusal(400, code), refusal(400, code)):
        own(file_ledger)
    assert 3 == len(dynamodb_line.calls)


def test_conflicts_that_do_not_end_fail_the_claim(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    class Hasty(Runtime):
        def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    slept: list[float] = []
    conflicts = [refusal(400, "TransactionConflictException") for _ in range(25)]
    with (
        installed(Hasty()),
        dynamodb_line.answering("TransactWriteItems", *conflicts),
        pytest.raises(Exception, match="TransactionConflictException"),
    ):
        own(file_ledger)
    assert (20, 19) == (len(dynamodb_line.calls), len(slept))
    assert max(slept) <= 1
