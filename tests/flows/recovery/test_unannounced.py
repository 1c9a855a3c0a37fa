"""An object in `incoming/` that nothing looks at is found, once."""

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.domain.models import FileStatus, LedgerEntry, SensorFile, StoredFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import Claim
from blocks.file_ledger.claiming import Owned
from blocks.saved_blocks import load_blocks
from flows.recovery.due_files import CLAIMED_WITHIN
from flows.recovery.unannounced import find_unannounced
from tests.support.world import World


def found(world: World, ending: str) -> list[str]:
    blocks = load_blocks()
    assert world.outputs.bucket_name == blocks.landing_zone.bucket
    files = find_unannounced(blocks.file_ledger, blocks.landing_zone, timedelta(0))
    return [file.key for file in files if file.key.endswith(ending)]


def claimed(uri: str, claim_id: str = "a claim") -> tuple[FileLedger, Owned]:
    blocks = load_blocks()
    stored = blocks.landing_zone.describe(SensorFile.model_validate(uri))
    assert stored is not None
    owned = blocks.file_ledger.claim(stored, claim_id, "a run")
    assert isinstance(owned, Owned)
    return blocks.file_ledger, owned


def test_objects_that_were_never_announced_are_found_but_for_folders_and_other_prefixes(world: World) -> None:
    world.put("x", "incoming/stranded é+1.unknown")
    world.put("", "incoming/folder.unknown/")
    world.put("x", "processed/done.unknown")
    assert ["incoming/stranded é+1.unknown"] == found(world, ".unknown")


def test_objects_that_have_just_arrived_are_left_to_their_events(world: World) -> None:
    world.put("x", "incoming/fresh.csv")
    blocks = load_blocks()
    assert [] == [*find_unannounced(blocks.file_ledger, blocks.landing_zone, timedelta(hours=1))]


def test_an_announced_file_is_found_no_more(world: World) -> None:
    file = SensorFile.model_validate(world.put("x", "incoming/announced.once"))
    assert ["incoming/announced.once"] == found(world, ".once")
    load_blocks().file_ledger.expect([file], CLAIMED_WITHIN)
    assert [] == found(world, ".once")


def test_a_file_that_a_run_holds_or_that_waits_for_another_try_is_not_found(world: World) -> None:
    ledger, owned = claimed(world.put("x", "incoming/in-a-run.held"))
    assert [] == found(world, ".held")
    ledger.release(owned.held, owned.entry, "it could not be loaded")
    assert [] == found(world, ".held")


@pytest.mark.parametrize(
    ("status", "archived_to", "times"),
    [
        ("archived", "s3://somewhere/processed/a.csv", 1),
        ("failed", "s3://somewhere/failed/a.csv", 1),
        ("failed", None, 0),
    ],
    ids=["archived", "moved to failed", "stays where it is"],
)
def test_a_settled_version_that_was_left_in_incoming_is_found_unless_it_has_no_other_place(
    world: World, status: FileStatus, archived_to: str | None, times: int
) -> None:
    key = f"incoming/left.{status}{times}"
    ledger, owned = claimed(world.put("x", key))
    now = datetime.now(UTC)
    settled = owned.entry.model_copy(update={"status": status, "archived_to": archived_to, "finished_at": now})
    ledger.settle(owned.held, settled)
    assert not ledger.end_claim(owned.held)
    assert [key] * times == found(world, key)
    world.put("other bytes", key)
    assert [key] == found(world, key)


class Bucket:
    """As many objects as a test wants."""

    def waiting(self, older_than: timedelta) -> Iterator[StoredFile]:
        assert older_than == timedelta(0)
        now = datetime.now(UTC)
        for number in range(MANY):
            yield StoredFile(bucket="landing", key=f"incoming/{number:07}.csv", etag="e", size=1, landed_at=now)


class Ledger:
    """A ledger that knows none of them."""

    reads = 0

    def claims_of(self, files: list[SensorFile]) -> list[Claim]:
        self.reads += 1
        return [Claim(file.bucket, file.key) for file in files]

    def entries_of(self, _bucket: str, _key: str) -> list[LedgerEntry]:
        raise AssertionError("a key that was never claimed has no entries")


MANY = 20_000


def test_memory_does_not_grow_with_the_number_of_objects() -> None:
    ledger: Any = Ledger()
    bucket: Any = Bucket()
    tracemalloc.start()
    try:
        many = sum(1 for _ in find_unannounced(ledger, bucket, timedelta(0)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (MANY, MANY / 100) == (many, ledger.reads)
    assert peak < 2_000_000
