"""One file through threads and through processes: the same table, item for item. Dask has a folder of its own."""

import dataclasses
from pathlib import Path
from typing import Self

import pytest

from blocks.domain.errors import LeaseLostError, ShardsDifferError
from blocks.domain.models import HeldClaim, SensorFile
from blocks.saved_blocks import load_blocks
from flows.loading import shard_tasks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import Lease
from flows.loading.shard_tasks import Written, load_shards, shard_settings, write_in_shards
from flows.rows import ValidatedFile, ValidationSettings, validate_file
from tests.flows.one_file import EXPECTED, table_after
from tests.support.world import World


def test_threads_and_processes_leave_the_same_table(world: World) -> None:
    threads = table_after(world, LargeFiles(written_by="threads", from_rows=len(EXPECTED)))
    processes = table_after(world, LargeFiles(written_by="processes", from_rows=len(EXPECTED)))
    assert {"threads": EXPECTED, "processes": EXPECTED} == {"threads": threads, "processes": processes}


def test_processes_of_one_machine_share_the_memory_for_duplicates_and_dask_s_workers_do_not() -> None:
    processes = LargeFiles(written_by="processes", shards=4)
    dask = LargeFiles(written_by="dask", shards=4, dask_scheduler="tcp://scheduler:8786")
    assert [4, 1] == [shard_settings(ValidationSettings(), each).concurrent_processes for each in (processes, dask)]


def test_a_shard_whose_run_does_not_hold_the_file_writes_nothing(world: World, tmp_path: Path) -> None:
    text = "0019-0001,1483906366,1\n"
    file = SensorFile.model_validate(world.put(text, "incoming/not-held.csv"))
    found = load_blocks().landing_zone.describe(file)
    assert found
    entry = load_blocks().file_ledger.claim(found, "this run")
    with load_blocks().landing_zone.opened(found) as body:
        validated = validate_file(body, tmp_path, ValidationSettings())
    claim = HeldClaim(bucket=entry.bucket, key=entry.key, version=entry.version, claim_id="another run")
    with pytest.raises(LeaseLostError, match=r"not-held\.csv"):
        load_shards(found, validated.settings, validated.counts, 1, claim)
    assert [] == world.values_of("0019-0001")
    held = claim.model_copy(update={"claim_id": "this run"})
    assert Written(1, unanswered=False) == load_shards(found, validated.settings, validated.counts, 1, held)


@dataclasses.dataclass
class Load:
    """Replaces the flow of all shards."""

    outcome: Written | Exception

    def with_options(self, **_: object) -> Self:
        return self

    def __call__(self, *_: object) -> Written:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "unanswered"),
    [
        (Written(1, unanswered=False), False),
        (Written(1, unanswered=True), True),
        (ShardsDifferError("a", "b", "c"), True),
    ],
    ids=["all answered", "one unanswered", "one failed"],
)
def test_the_run_knows_what_its_shards_have_left_unanswered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: Written | Exception, *, unanswered: bool
) -> None:
    monkeypatch.setattr(shard_tasks, "load_shards", Load(outcome))
    lease = Lease(HeldClaim(bucket="b", key="k", version="v", claim_id="run"), 60)
    file = SensorFile(bucket="bucket", key="k")
    with (tmp_path / "k").open("wb+") as body:
        validated: ValidatedFile = validate_file(body, tmp_path, ValidationSettings())
    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)):
            write_in_shards(file, validated, LargeFiles(written_by="processes"), lease)
    else:
        assert 1 == write_in_shards(file, validated, LargeFiles(written_by="processes"), lease)
    assert unanswered is lease.unanswered
