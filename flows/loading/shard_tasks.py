"""A large file written in shards at the same time, by processes of this machine or by workers of a Dask cluster.

Only a run with such a file imports this module. Decision 22 says why each shard reads the file again.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow, get_run_logger, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from blocks.domain.errors import DaskMissingError, ShardsDifferError
from blocks.domain.models import HeldClaim, RowCounts, SensorFile
from blocks.saved_blocks import run_blocks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import Lease, shard_lease
from flows.loading.progress import LoadProgress, ProgressBar
from flows.rows import ValidatedFile, ValidationSettings, validate_file
from flows.rows.sharding import Shard, shards


@dataclass(frozen=True)
class Written:
    """What one shard has written, or all of them."""

    rows: int
    """Acknowledged by DynamoDB."""
    unanswered: bool
    """Whether rows were sent that may be written later."""


def write_in_shards(file: SensorFile, validated: ValidatedFile, large_files: LargeFiles, lease: Lease) -> int:
    """The number of rows that DynamoDB has acknowledged: all accepted rows.

    Raises:
        DaskMissingError: Dask was chosen, but is not installed here.
        LeaseLostError: a shard found that the run does not hold the file any more.
        ShardsDifferError: the shards together are not what was validated.
    """
    load = load_shards.with_options(task_runner=task_runner(large_files))
    settings = shard_settings(validated.settings, large_files)
    try:
        written = load(file, settings, validated.counts, large_files.shards, lease.claim)
    except BaseException:  # what the other shards have sent or still send is not known
        lease.note_unanswered()
        raise
    if written.unanswered:
        lease.note_unanswered()
    return written.rows


def shard_settings(settings: ValidationSettings, large_files: LargeFiles) -> ValidationSettings:
    """The rules for each shard: processes of one machine share the memory for duplicates."""
    return (
        replace(settings, concurrent_processes=large_files.shards)
        if large_files.written_by == "processes"
        else settings
    )


def task_runner(large_files: LargeFiles) -> TaskRunner[Any]:
    """The task runner of the shards."""
    if large_files.written_by == "processes":
        return ProcessPoolTaskRunner(max_workers=large_files.shards)
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415 - the extra `dask`
    except ImportError as missing:
        raise DaskMissingError from missing
    runner: TaskRunner[Any] = DaskTaskRunner(address=large_files.dask_scheduler)
    return runner


@flow(
    name="load-shards",
    description="Write the rows of one large file in shards, at the same time.",
    flow_run_name="{file.name}",
)
def load_shards(
    file: SensorFile, settings: ValidationSettings, counts: RowCounts, count: int, claim: HeldClaim
) -> Written:
    """What all shards of the file have written.

    Args:
        file: the version that was validated.
        settings: the rules that it was validated with, including the latest accepted second.
        counts: the result of that validation.
        count: the number of shards.
        claim: of the run that loads the file; each shard writes only while the run holds it.
    """
    loads = write_shard.map(unmapped(file), unmapped(settings), unmapped(counts), shards(count), unmapped(claim))
    written = loads.result()
    rows = sum(each.rows for each in written)
    if rows != counts.accepted:
        raise ShardsDifferError(file.uri, f"{rows:,} rows written in all", f"{counts.accepted:,} accepted")
    return Written(rows, any(each.unanswered for each in written))


@task(task_run_name="write shard {shard.number} of {shard.of}", cache_policy=NO_CACHE)
def write_shard(
    file: SensorFile, settings: ValidationSettings, counts: RowCounts, shard: Shard, claim: HeldClaim
) -> Written:
    """What was written: the rows of the sensors of this shard, while the run holds its claim on the file."""
    with shard_lease(claim, run_blocks().file_ledger) as lease:
        return Written(write_rows(file, settings, counts, shard, lease), lease.unanswered)


def write_rows(file: SensorFile, settings: ValidationSettings, counts: RowCounts, shard: Shard, lease: Lease) -> int:
    """The number of rows that DynamoDB has acknowledged: the rows of the sensors of this shard."""
    blocks, log = run_blocks(), get_run_logger()
    with TemporaryDirectory(prefix="sensor-ingest-") as workspace:
        with blocks.landing_zone.opened(file) as body:
            validated = validate_file(body, Path(workspace), settings)
        if validated.counts != counts:
            raise ShardsDifferError(file.uri, str(validated.counts), str(counts))
        rows = sum(map(len, shard.select(validated.readings())))
        started = time.monotonic()
        progress = LoadProgress(rows, log.info, ProgressBar(f"Rows of {file.name} written, shard {shard.number}"))
        written = blocks.readings_table.write(
            shard.select(validated.readings()), progress, fence=lease.fence, on_unanswered=lease.note_unanswered
        )
    seconds = time.monotonic() - started
    log.info("%s: %d rows written in %.1f s, %.0f a second", file.name, written, seconds, written / seconds)
    return written
