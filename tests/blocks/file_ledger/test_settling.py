"""How a run settles a version, and ends its claim."""

import pytest

from blocks.domain.errors import LeaseLostError
from blocks.domain.models import FileStatus
from blocks.file_ledger import FileLedger
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import (
    FILE,
    V2,
    claim_now,
    elsewhere,
    finished,
    load,
    own,
    pass_time,
    settle,
    statuses,
)


@pytest.mark.parametrize("status", ["archived", "refused", "failed"])
def test_a_settled_version_waits_no_more_and_its_key_stays_held(file_ledger: FileLedger, status: FileStatus) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned, status)
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert finished(owned.entry, status).model_dump_json() == entry.model_dump_json()
    claim = claim_now(file_ledger)
    assert ((), "c1") == (claim.unsettled, claim.claim_id)
    assert owned.held.claim == claim


def test_settling_renews_the_lease(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    first = owned.held.asked_at
    pass_time(file_ledger, 55)
    settle(file_ledger, owned)
    pass_time(file_ledger, 55)
    elsewhere(file_ledger, V2)
    assert owned.held.asked_at > first


def test_settling_twice_is_the_same_as_once(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    settle(file_ledger, owned)
    assert {"v1": "archived"} == statuses(file_ledger)
    assert not file_ledger.end_claim(owned.held)


def test_a_settlement_whose_answer_was_lost_is_made_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.sent_twice("TransactWriteItems"):
        settle(file_ledger, owned)
    assert 2 == claim_now(file_ledger).revision
    assert {"v1": "archived"} == statuses(file_ledger)


def test_a_version_that_is_noted_while_another_is_settled_is_kept(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.before("TransactWriteItems", lambda: elsewhere(file_ledger, V2)):
        settle(file_ledger, owned)
    assert {"v1": "archived", "v2": "waiting"} == statuses(file_ledger)
    assert file_ledger.end_claim(owned.held)


def test_a_run_that_is_taken_over_at_the_moment_of_settling_settles_nothing(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    owned = own(file_ledger)
    pass_time(file_ledger, 65)
    with (
        dynamodb_line.before("TransactWriteItems", lambda: own(file_ledger, V2, "c2")),
        pytest.raises(LeaseLostError),
    ):
        settle(file_ledger, owned)
    assert {"v1": "superseded", "v2": "loading"} == statuses(file_ledger)


def test_an_ended_claim_leaves_a_key_that_any_run_may_claim_and_that_is_not_due(file_ledger: FileLedger) -> None:
    load(file_ledger)
    assert (None, None) == ((claim := claim_now(file_ledger)).claim_id, claim.next_try_at)
    assert None is own(file_ledger, V2, "c2").held.claim.late_epoch


def test_a_claim_does_not_end_while_a_version_waits(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    elsewhere(file_ledger, V2)
    assert file_ledger.end_claim(owned.held)
    elsewhere(file_ledger, V2, "c3")


def test_a_version_that_comes_at_the_moment_of_the_end_is_not_left(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    with dynamodb_line.before("PutItem", lambda: elsewhere(file_ledger, V2)):
        assert file_ledger.end_claim(owned.held)
    assert "c1" == claim_now(file_ledger).claim_id


@pytest.mark.parametrize("status", ["archived", "refused"])
def test_rows_without_an_answer_have_the_next_version_written_again(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    owned = own(file_ledger)
    file_ledger.settle(owned.held, finished(owned.entry, status), unanswered=True)
    assert not file_ledger.end_claim(owned.held)
    assert claim_now(file_ledger).next_try_at is None, "late rows of the version itself do no harm"
    load(file_ledger, V2)
    claim = claim_now(file_ledger)
    assert claim.reload_at == claim.next_try_at == claim.late_until
    assert (1, "v1") == (claim.late_epoch, claim.late_version)
