"""One file through threads and through processes: the same table, item for item. Dask has a folder of its own."""

from flows.large_files import LargeFiles
from tests.flows.conftest import World
from tests.flows.one_file import EXPECTED, table_after


def test_threads_and_processes_leave_the_same_table(world: World) -> None:
    threads = table_after(world, LargeFiles(written_by="threads", from_rows=len(EXPECTED)))
    processes = table_after(world, LargeFiles(written_by="processes", from_rows=len(EXPECTED)))
    assert {"threads": EXPECTED, "processes": EXPECTED} == {"threads": threads, "processes": processes}
