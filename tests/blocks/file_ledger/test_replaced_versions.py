"""Versions that a newer one has replaced: they are settled when it is claimed."""

from datetime import timedelta

import pytest

from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import SETTLED_AT_ONCE
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import (
    FILE,
    LANDED_AT,
    V2,
    claim_now,
    elsewhere,
    load,
    own,
    pass_time,
    statuses,
    version,
)


def test_versions_that_the_claimed_one_has_replaced_are_settled_in_the_same_transaction(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    own(file_ledger)
    elsewhere(file_ledger, V2)
    pass_time(file_ledger, 65)
    with dynamodb_line.answering("TransactWriteItems"):
        owned = own(file_ledger, version("v3"), "c2", email_id="e2")
    assert 1 == len(dynamodb_line.calls)
    assert {"v1": "superseded", "v2": "superseded", "v3": "loading"} == statuses(file_ledger)
    assert ["v1", "v2"] == [entry.version for entry in owned.superseded]
    first, second = owned.superseded
    assert "version v3 of this key replaced it; some of its rows may be in the table" == first.problem
    assert "version v3 of this key replaced it before it was loaded" == second.problem
    assert {("e2", "run of c2", None)} == {
        (each.email_id, each.flow_run_id, each.next_try_at) for each in (first, second)
    }
    assert first.finished_at
    assert ("v3",) == owned.held.claim.unsettled


def test_an_announced_version_that_was_replaced_before_any_run_looked_is_settled(file_ledger: FileLedger) -> None:
    [replaced] = own(file_ledger, V2, announced="v1").superseded
    assert ("v1", "superseded", 0, 0) == (replaced.version, replaced.status, replaced.tries, replaced.attempts)
    assert {"v1": "superseded", "v2": "loading"} == statuses(file_ledger)


def test_an_announced_version_that_was_settled_before_stays_as_it_is(file_ledger: FileLedger) -> None:
    load(file_ledger)
    assert [] == own(file_ledger, V2, "c2", announced="v1").superseded
    assert {"v1": "archived", "v2": "loading"} == statuses(file_ledger)


@pytest.mark.parametrize("announced", ["v1", "e1"])
def test_a_version_is_not_replaced_by_itself_if_its_etag_was_announced(file_ledger: FileLedger, announced: str) -> None:
    """A sweep announces what it lists, and a listing names no version ids."""
    assert [] == own(file_ledger, announced=announced).superseded
    assert {"v1": "loading"} == statuses(file_ledger)


def test_a_version_whose_second_load_did_not_end_is_archived_and_not_superseded(file_ledger: FileLedger) -> None:
    load(file_ledger)
    own(file_ledger, V2)
    elsewhere(file_ledger, FILE.model_copy(update={"landed_at": LANDED_AT + timedelta(seconds=1)}))
    pass_time(file_ledger, 65)
    owned = own(file_ledger, version("v3"), "c3")
    assert {"v1": "archived", "v2": "superseded", "v3": "loading"} == statuses(file_ledger)
    assert ["v2", "v1"] == [entry.version for entry in owned.superseded]
    assert "the file is archived" in str(owned.superseded[1].problem)


def test_more_replaced_versions_than_one_transaction_takes_are_settled_before(file_ledger: FileLedger) -> None:
    own(file_ledger)
    names = [f"v{number}" for number in range(2, 2 * SETTLED_AT_ONCE + 9)]
    for name in names:
        elsewhere(file_ledger, version(name))
    pass_time(file_ledger, 65)
    owned = own(file_ledger, version("v999"), "c3")
    assert ["v1", *names] == [entry.version for entry in owned.superseded]
    assert {"v999": "loading", **dict.fromkeys(["v1", *names], "superseded")} == statuses(file_ledger)
    assert ("v999",) == claim_now(file_ledger).unsettled
