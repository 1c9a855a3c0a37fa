"""A file through a Dask cluster leaves the same table as through threads and processes, item for item."""

from flows.loading.large_files import LargeFiles
from tests.flows.one_file import EXPECTED, table_after
from tests.support.world import World


def test_workers_of_a_dask_cluster_leave_what_threads_and_processes_leave(world: World, dask_scheduler: str) -> None:
    large_files = LargeFiles(written_by="dask", from_rows=len(EXPECTED), dask_scheduler=dask_scheduler)
    assert table_after(world, large_files) == EXPECTED
