"""How a run that holds a key keeps it."""

from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned
from blocks.runtime import Runtime
from tests.blocks.conftest import Line, refusal
from tests.blocks.ledger_entries import FILE, V2, claim_now, elsewhere, load, own, pass_time, settle


def test_a_renewed_claim_lasts_from_then_on(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    first = held.asked_at
    pass_time(file_ledger, 55)
    assert file_ledger.renew(held)
    pass_time(file_ledger, 55)
    elsewhere(file_ledger)
    assert held.asked_at > first
    assert claim_now(file_ledger).next_try_at == claim_now(file_ledger).lease_until


def test_the_deadline_of_a_renewed_claim_counts_from_before_its_request(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    runtime, held, sent = Runtime(), own(file_ledger).held, list[float]()
    with dynamodb_line.before("PutItem", lambda: sent.append(runtime.monotonic())):
        assert file_ledger.renew(held)
    assert held.asked_at <= sent[0]


def test_a_renewal_keeps_what_was_noted_meanwhile(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    elsewhere(file_ledger, V2)
    assert file_ledger.renew(held)
    assert ("v1", "v2") == held.claim.unsettled == claim_now(file_ledger).unsettled


def test_a_renewal_whose_answer_was_lost_succeeds(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    held = own(file_ledger).held
    with dynamodb_line.sent_twice("PutItem"):
        assert file_ledger.renew(held)
    assert 2 == claim_now(file_ledger).revision


def test_an_ended_claim_is_not_renewed(file_ledger: FileLedger) -> None:
    assert not file_ledger.renew(load(file_ledger).held)


def test_a_shard_learns_how_long_the_lease_of_its_run_lasts(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    left = file_ledger.lease_seconds_left("landing", FILE.key, "c1")
    assert left
    assert 55 < left <= 61
    assert file_ledger.lease_seconds_left("landing", FILE.key, "c2") is None
    settle(file_ledger, Owned(held, own(file_ledger).entry, []))
    file_ledger.end_claim(held)
    assert file_ledger.lease_seconds_left("landing", FILE.key, "c1") is None


def test_a_change_meets_another_transaction_and_is_made_again(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.answering("PutItem", refusal(400, "TransactionConflictException")):
        assert file_ledger.renew(owned.held)
    assert 2 == len(dynamodb_line.calls)
