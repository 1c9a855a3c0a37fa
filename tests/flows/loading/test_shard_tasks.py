"""One file through threads and through processes: the same table, item for item. Dask has a folder of its own."""

from flows.loading.large_files import LargeFiles
from flows.loading.shard_tasks import shard_settings
from flows.rows import ValidationSettings
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
