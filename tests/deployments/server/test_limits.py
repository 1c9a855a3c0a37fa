"""How many runs are active at once: the limits of the work pool and of its queues."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import WORK_POOL
from deployments.server.deploy import ensure_limits, ensure_work_pool
from deployments.server.prefect_yaml import prefect_yaml
from deployments.settings import EMAIL_RUNS_AT_ONCE, POOL_LIMIT, QUEUE_LIMITS


def test_no_deployment_has_a_concurrency_limit() -> None:
    """Its lease is in the memory of the server, and a server that restarts ends long runs."""
    assert [] == [each["name"] for each in prefect_yaml()["deployments"] if "concurrency_limit" in each]


def test_the_pool_has_room_for_twice_the_sum_of_all_limits_and_a_sweep() -> None:
    assert POOL_LIMIT == 2 * (sum(QUEUE_LIMITS.values()) + 1)


@pytest.mark.usefixtures("prefect_api")
def test_pool_and_queues_get_default_limits_and_keep_other_limits() -> None:
    ensure_work_pool()
    with get_client(sync_client=True) as client:
        limits = []
        for _ in range(2):
            ensure_limits(client)
            queues = [client.read_work_queue_by_name(name, work_pool_name=WORK_POOL) for name in QUEUE_LIMITS]
            limits.append((client.read_work_pool(WORK_POOL).concurrency_limit, [q.concurrency_limit for q in queues]))
            client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=50))
            for queue in queues:
                client.update_work_queue(queue.id, concurrency_limit=20)
    assert [(POOL_LIMIT, [RUNS_AT_ONCE, EMAIL_RUNS_AT_ONCE]), (50, [20, 20])] == limits
