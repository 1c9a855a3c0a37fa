"""How this project writes large files, as `write.py` measures it: `load_shards` in processes that Prefect starts.

    python -m benchmarks.write_shards FILE ENDPOINT PROCESSES

reads the file from the counting server, which stands in for S3, once to validate it and once more in each process, and
prints one JSON object. A temporary Prefect server is started first; that is not measured.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prefect import flow, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings

from benchmarks.write_clients import TABLE, block_credentials, client_settings
from blocks.domain.models import RowCounts, SensorFile
from blocks.saved_blocks import load_blocks, save_blocks
from blocks.stack_outputs import StackOutputs
from flows.loading import shard_tasks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import ShardClaim, ShardLease
from flows.loading.shard_tasks import shard_settings, task_runner
from flows.rows import ValidationSettings, validate_file
from flows.rows.sharding import Shard, shards


@dataclass(frozen=True)
class Cost:
    """What one shard took in its process; up to `began`, that process was started and imported what it needs."""

    items: int
    began: float
    start_cpu_seconds: float
    cpu_seconds: float
    peak_mb: float


@flow
def load_shards(file: SensorFile, settings: ValidationSettings, counts: RowCounts, count: int) -> list[Cost]:
    """The flow of `flows/loading/shard_tasks.py`, but that its tasks say what they cost, and have no lease."""
    costs: list[Cost] = measured_shard.map(unmapped(file), unmapped(settings), unmapped(counts), shards(count)).result()
    return costs


@task(cache_policy=NO_CACHE)
def measured_shard(file: SensorFile, settings: ValidationSettings, counts: RowCounts, shard: Shard) -> Cost:
    began, start_cpu = time.monotonic(), time.process_time()
    with patch.object(shard_tasks, "shard_lease", _no_lease):  # no ledger; a look at it takes a millisecond in ten s
        items, _ = shard_tasks.write_shard.fn(file, settings, counts, shard, ShardClaim("", "", ""))
    return Cost(items, began, start_cpu, time.process_time() - start_cpu, peak_mb())


@contextmanager
def _no_lease(*_: object) -> Iterator[ShardLease]:
    lease = ShardLease(load_blocks().file_ledger, ShardClaim("", "", ""))
    lease._deadline = float("inf")  # noqa: SLF001 - it never ends
    yield lease


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def load(file: SensorFile, processes: int) -> dict[str, Any]:
    zone = load_blocks().landing_zone
    large_files = LargeFiles(written_by="processes", shards=processes)
    in_processes = load_shards.with_options(task_runner=task_runner(large_files))
    started, cpu = time.monotonic(), cpu_seconds()
    with tempfile.TemporaryDirectory() as workspace:
        with zone.opened(file) as body:
            validated = validate_file(body, Path(workspace))
        validated_at = time.monotonic()
        costs = in_processes(file, shard_settings(validated.settings, large_files), validated.counts, processes)
    return {
        "items": sum(cost.items for cost in costs),
        "started": started,
        "validated_seconds": validated_at - started,
        "seconds": time.monotonic() - started,
        # The first process to begin: that another one began later is part of what the load took.
        "start_seconds": min(cost.began for cost in costs) - validated_at,
        "cpu_seconds": cpu_seconds() - cpu,
        "start_cpu_seconds": sum(cost.start_cpu_seconds for cost in costs),
        "peak_mb": peak_mb(),
        "peaks_mb": [cost.peak_mb for cost in costs],
        "shard_cpu_seconds": [cost.cpu_seconds for cost in costs],
    }


def main() -> None:
    # Not above: processes that are started import this module, and need no server.
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    path, endpoint, processes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    known = {"BucketName": "files", "ReadingsTableName": TABLE, "IncomingPrefix": "incoming/"}
    outputs = StackOutputs.model_validate(
        {name: "made-up@example.com" for field in StackOutputs.model_fields.values() if (name := field.alias)} | known
    )
    no_statistics = temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False})
    with no_statistics, prefect_test_harness(server_startup_timeout=300):
        save_blocks(outputs, block_credentials(client_settings(endpoint)))
        print(json.dumps(load(SensorFile(bucket="files", key=path.name), processes)))


if __name__ == "__main__":
    main()
