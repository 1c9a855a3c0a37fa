"""What a load that failed leaves in the ledger, and when it is tried again."""

import math
from dataclasses import replace

import pytest

from blocks.file_ledger import FileLedger
from blocks.runtime import Runtime, installed
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import (
    FILE,
    V2,
    claim_now,
    elsewhere,
    finished,
    load,
    own,
    release,
    seconds_until,
    settle,
    statuses,
)


def test_a_version_whose_load_failed_waits_until_its_back_off_ends(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    waiting = file_ledger.release(owned.held, owned.entry, "S3 is down")
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert waiting
    assert ("waiting", "S3 is down", 1, 1) == (entry.status, entry.problem, entry.tries, entry.attempts)
    claim = claim_now(file_ledger)
    assert (None, ("v1",), entry.next_try_at) == (claim.claim_id, claim.unsettled, claim.next_try_at)
    assert waiting.model_dump_json() == entry.model_dump_json()
    assert owned.held.claim == claim


class Chance(Runtime):
    """The jitter is the shortest, or the longest."""

    def __init__(self, share: float) -> None:
        self._share = share

    def uniform(self, low: float, high: float) -> float:
        return low + self._share * (high - low)


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize(("tries", "longest"), [(1, 10), (2, 20), (5, 160), (9, 2560), (10, 3600), (99, 3600)])
def test_the_back_off_doubles_up_to_an_hour_and_has_jitter(
    file_ledger: FileLedger, tries: int, longest: int, share: float
) -> None:
    owned = own(file_ledger)
    with installed(Chance(share)):
        file_ledger.release(owned.held, owned.entry.model_copy(update={"tries": tries}), "no")
    assert math.isclose(
        longest * (1 + share) / 2, seconds_until(file_ledger, claim_now(file_ledger).next_try_at), abs_tol=2.5
    )


def test_a_version_that_came_during_a_load_that_failed_is_due_at_once(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    elsewhere(file_ledger, V2)
    release(file_ledger, owned)
    claim = claim_now(file_ledger)
    assert ("v1", "v2") == claim.unsettled
    assert -3 < seconds_until(file_ledger, claim.next_try_at) < 3


def test_rows_of_a_failed_load_without_an_answer_may_come_late(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    file_ledger.release(owned.held, owned.entry, "no", unanswered=True)
    assert (1, "v1") == ((claim := claim_now(file_ledger)).late_epoch, claim.late_version)
    load(file_ledger, V2, claim_id="c2")
    assert claim_now(file_ledger).reload_at


def test_a_load_that_failed_after_its_version_was_settled_is_tried_again(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    assert file_ledger.release(owned.held, None, "the original could not be deleted") is None
    assert {"v1": "archived"} == statuses(file_ledger)
    claim = claim_now(file_ledger)
    assert claim.claim_id is None
    assert 3 < seconds_until(file_ledger, claim.next_try_at) < 13


def test_a_release_whose_answer_was_lost_is_counted_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    owned = own(file_ledger)
    with dynamodb_line.sent_twice("TransactWriteItems"):
        file_ledger.release(owned.held, owned.entry, "AWS refused s3:GetObject", counts=False)
    assert (0, 1) == ((entry := file_ledger.entries_of("landing", FILE.key)[0]).attempts, entry.tries)
    assert 2 == claim_now(file_ledger).revision


def test_the_release_of_a_version_that_is_settled_leaves_it_settled(file_ledger: FileLedger) -> None:
    """All answers to `settle` were lost, so the run takes its load for failed."""
    owned = own(file_ledger)
    file_ledger.settle(replace(owned.held), finished(owned.entry, "archived"))
    assert file_ledger.release(owned.held, owned.entry, "no answer") is None
    assert {"v1": "archived"} == statuses(file_ledger)
    claim = claim_now(file_ledger)
    assert (None, ()) == (claim.claim_id, claim.unsettled)
    assert claim.next_try_at, "the original may still be in incoming/"
