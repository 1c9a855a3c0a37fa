"""How many runs are active at once: the limit in prefect.yaml, and the limits of work pool and queue around it."""

from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import EMAILS_QUEUE, WORK_POOL
from deployments.server.deploy import ensure_limits, ensure_work_pool
from deployments.server.prefect_yaml import prefect_yaml
from deployments.settings import EMAILS_AT_ONCE, POOL_LIMIT


def deployments() -> dict[str, dict[str, Any]]:
    described = prefect_yaml()
    return {each["name"]: each for each in described["deployments"]}


def test_the_limit_of_ingest_runs_in_prefect_yaml_is_the_default_of_the_relay() -> None:
    limit = {"limit": RUNS_AT_ONCE, "collision_strategy": "ENQUEUE"}
    assert limit == deployments()["ingest-sensor-files"]["concurrency_limit"]


def test_emails_have_a_work_queue_and_the_pool_limit_leaves_slots_for_ingest_runs_and_a_sweep() -> None:
    assert EMAILS_QUEUE == deployments()["notify"]["work_pool"]["work_queue_name"]
    assert {WORK_POOL} == {each["work_pool"]["name"] for each in deployments().values()}
    assert POOL_LIMIT > RUNS_AT_ONCE + EMAILS_AT_ONCE


@pytest.mark.usefixtures("prefect_api")
def test_pool_and_queue_get_default_limits_and_keep_other_limits() -> None:
    ensure_work_pool()
    with get_client(sync_client=True) as client:
        limits = []
        for _ in range(2):
            ensure_limits(client)
            queue = client.read_work_queue_by_name(EMAILS_QUEUE, work_pool_name=WORK_POOL)
            limits.append((client.read_work_pool(WORK_POOL).concurrency_limit, queue.concurrency_limit))
            client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=50))
            client.update_work_queue(queue.id, concurrency_limit=20)
    assert [(POOL_LIMIT, EMAILS_AT_ONCE), (50, 20)] == limits
