"""The ledger of these tests has no due email before and after each."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from blocks.file_ledger import FileLedger
from blocks.saved_blocks import load_blocks
from tests.support.table_time import table_time_later
from tests.support.world import World


@pytest.fixture
def ledger(world: World) -> Iterator[FileLedger]:
    """The ledger, without a due email before and after."""
    assert world
    ledger = load_blocks().file_ledger
    nothing_due(ledger)
    yield ledger
    nothing_due(ledger)


def nothing_due(ledger: FileLedger) -> None:
    with table_time_later(10_000_000):
        for email in ledger.due_emails():
            ledger.change_email(email, lambda each: each.collected([], datetime.now(UTC)))
