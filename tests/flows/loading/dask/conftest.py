"""A Dask cluster takes a while to start, so `make test` leaves this folder out: it is collected only where it is named.

`make test-dask` does.
"""

from collections.abc import Iterator

import pytest
from distributed import LocalCluster


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    named = any("dask" in str(argument) for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session")
def dask_scheduler() -> Iterator[str]:
    """The address of a cluster on the loopback interface, its one worker a process that does two things at a time."""
    with LocalCluster(  # type: ignore[no-untyped-call] # distributed has no types
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address=None, memory_limit=None
    ) as cluster:
        yield cluster.scheduler_address
