"""A large file written in shards at the same time, by processes of this machine or by workers of a Dask cluster.

Only a run with such a file imports this module. Decision 22 says why each shard reads the file again.
"""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from blocks.domain.errors import DaskMissingError, ShardsDifferError
from blocks.domain.models import RowCounts, SensorFile
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import Lease, ShardClaim, shard_lease
from flows.loading.progress import LoadProgress, ProgressBar
from flows.rows import ValidatedFile, ValidationSettings, validate_file
from flows.rows.sharding import Shard, shards


def write_in_shards(file: SensorFile, validated: ValidatedFile, large_files: LargeFiles, lease: Lease) -> int:
    """The number of rows that DynamoDB has acknowledged: all accepted rows.

    Raises:
        DaskMissingError: Dask was chosen, but is not installed here.
        LeaseLostError: another run may own the key.
        ShardsDifferError: the shards together are not what was validated.
    """
    load = load_shards.with_options(task_runner=task_runner(large_files))
    settings = shard_settings(validated.settings, large_files)
    lease.unanswered, unanswered_before = True, lease.unanswered  # until all shards have said
    written, unanswered = load(file, settings, validated.counts, large_files.shards, lease.for_shards)
    lease.unanswered = unanswered or unanswered_before
    return written


def shard_settings(settings: ValidationSettings, large_files: LargeFiles) -> ValidationSettings:
    """The rules for each shard: processes of one machine share the memory for duplicates."""
    return (
        replace(settings, concurrent_processes=large_files.shards)
        if large_files.written_by == "processes"
        else settings
    )


def shard_field(settings: ValidationSettings) -> str:
    """The field by whose values rows are divided: the first of the key that is not the same in all rows."""
    key = settings.feed.table_schema.primary_key
    return next((name for name in key if name not in settings.key_values), key[0])


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
    file: SensorFile, settings: ValidationSettings, counts: RowCounts, count: int, claim: ShardClaim
) -> tuple[int, bool]:
    """The number of rows written by all shards of the file, and whether rows were sent whose arrival is not known.

    Args:
        file: the version that was validated.
        settings: the rules that it was validated with, including the latest accepted second.
        counts: the result of that validation.
        count: the number of shards.
        claim: the claim of the run that loads the file.
    """
    loads = write_shard.map(unmapped(file), unmapped(settings), unmapped(counts), shards(count), unmapped(claim))
    results = loads.result()
    written = sum(rows for rows, _ in results)
    if written != counts.accepted:
        raise ShardsDifferError(file.uri, f"{written:,} rows written in all", f"{counts.accepted:,} accepted")
    return written, any(unanswered for _, unanswered in results)


@task(task_run_name="write shard {shard.number} of {shard.of}", cache_policy=NO_CACHE)
def write_shard(
    file: SensorFile, settings: ValidationSettings, counts: RowCounts, shard: Shard, claim: ShardClaim
) -> tuple[int, bool]:
    """The number of rows that DynamoDB has acknowledged, and whether rows were sent whose arrival is not known.

    They are the rows of the partition keys of this shard.
    """
    blocks, log = run_blocks(), runtime().log()
    with TemporaryDirectory(prefix="sensor-ingest-") as workspace, shard_lease(blocks.file_ledger, claim) as lease:
        with blocks.landing_zone.opened(file) as body:
            validated = validate_file(body, Path(workspace), settings)
        if validated.counts != counts:
            raise ShardsDifferError(file.uri, str(validated.counts), str(counts))
        field = shard_field(settings)
        rows = sum(map(len, shard.select(validated.items(), field)))
        started = time.monotonic()
        progress = LoadProgress(rows, log.info, ProgressBar(f"Rows of {file.name} written, shard {shard.number}"))
        selected = shard.select(validated.items(), field)
        written = blocks.table_of(settings.feed).write(
            selected, progress, fence=lease.fence, on_unanswered=lease.note_unanswered
        )
    seconds = time.monotonic() - started
    log.info("%s: %d rows written in %.1f s, %.0f a second", file.name, written, seconds, written / seconds)
    return written, lease.unanswered
