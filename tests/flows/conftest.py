"""The ledger of the flows, for tests that look at what is due."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import Claim
from blocks.saved_blocks import load_blocks
from tests.support.table_time import table_time_later
from tests.support.world import World


@pytest.fixture
def ledger(world: World) -> Iterator[FileLedger]:
    """The ledger, in which no file and no email is due before and after."""
    assert world
    ledger = load_blocks().file_ledger
    nothing_due(ledger)
    yield ledger
    nothing_due(ledger)


def nothing_due(ledger: FileLedger) -> None:
    with table_time_later(10_000_000):
        for due in ledger.due_files():
            ledger.change(due.claim.bucket, due.claim.key, forgotten)
        for email in ledger.due_emails():
            ledger.change_email(email, lambda each: each.collected([], datetime.now(UTC)))


def forgotten(claim: Claim) -> Claim:
    return replace(claim, claim_id=None, unsettled=(), next_try_at=None)
