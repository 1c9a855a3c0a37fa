"""Checks of the Prefect server, the work pool and its workers."""

from collections.abc import Mapping
from typing import Final

import prefect
from packaging.version import Version
from prefect.client.schemas.objects import WorkPool, WorkQueue
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from blocks.domain.names import WORK_POOL
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem
from deployments.server.api_access import refusals_explained
from deployments.settings import POOL_LIMIT, QUEUE_LIMITS

_POOL_TYPES: Final = frozenset({"process", "ecs", "docker", "kubernetes"})
"""Types of pools whose runs find this project installed on their machine or image; others would have to fetch it."""


def api(system: InspectedSystem) -> CheckResult:
    """The server answers and accepts the credentials."""
    url = get_current_settings().api.url
    if url is None:
        return problem("PREFECT_API_URL is not set", 'set it, or: eval "$(sensor-ingest env)" for the embedded stack')
    error = system.prefect.api_healthcheck()
    if error is not None:
        return problem(
            f"{url} does not answer: {str(error) or type(error).__name__}",
            "start the server (`prefect server start`, or `sensor-ingest up`), or correct PREFECT_API_URL",
        )
    with refusals_explained():  # the health check needs no credentials
        system.prefect.api_version()
    return ok(url)


def server_version(system: InspectedSystem) -> CheckResult:
    """Server and client have the same minor version."""
    server, client = Version(system.prefect.api_version()), Version(prefect.__version__)
    if server.release[:2] != client.release[:2]:
        return warning(f"server {server}, client {client}", "install the version of requirements.lock on both")
    return ok(f"server {server}, client {client}")


def work_pool(system: InspectedSystem) -> CheckResult:
    """The pool and its queues exist with their limits; none is paused; the pool's limit leaves room for a sweep."""
    try:
        pool = system.prefect.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        return problem(f"the work pool {WORK_POOL} does not exist", "`sensor-ingest deploy`")
    if pool.is_paused:
        return problem(f"{pool.name} is paused, so no run starts", f"prefect work-pool resume {pool.name}")
    queues = {queue.name: queue for queue in system.prefect.read_work_queues(pool.name)}
    paused = [name for name, queue in queues.items() if queue.is_paused]
    if paused:
        remedy = f"prefect work-queue resume {paused[0]} --pool {pool.name}"
        return problem(f"its queue {', '.join(paused)} is paused, so no run starts", remedy)
    if pool.type not in _POOL_TYPES:
        remedy = "make sure that its runs have this project installed, or create a process pool of that name"
        return warning(f"{pool.name} is of type {pool.type}", remedy)
    return _limits(pool, queues)


def _limits(pool: WorkPool, queues: Mapping[str, WorkQueue]) -> CheckResult:
    limits = {name: queues[name].concurrency_limit if name in queues else None for name in QUEUE_LIMITS}
    unlimited = [name for name, limit in limits.items() if limit is None]
    if unlimited:
        return problem(f"its queue {', '.join(unlimited)} is missing or has no limit", "`sensor-ingest deploy`")
    needed = sum(filter(None, limits.values())) + 1
    if pool.concurrency_limit is not None and pool.concurrency_limit < needed:
        remedy = f"prefect work-pool set-concurrency-limit {pool.name} {max(POOL_LIMIT, 2 * needed)}"
        return warning(f"its limit of {pool.concurrency_limit} may block a sweep: {needed} runs can be due", remedy)
    return ok(f"{pool.name}, type {pool.type}")


def worker(system: InspectedSystem) -> CheckResult:
    """At least one worker of the pool is online."""
    workers = system.prefect.read_workers_for_work_pool(WORK_POOL)
    online = [each.name for each in workers if each.status == "ONLINE"]
    if not online:
        seen = f"none of {len(workers)} is online" if workers else "no worker has ever connected"
        return problem(f"{seen}, so no run starts", f"prefect worker start --pool {WORK_POOL}")
    return ok(f"{', '.join(online)} online")


CHECKS: Final = (
    Check("prefect api", api),
    Check("prefect version", server_version, ("prefect api",)),
    Check("work pool", work_pool, ("prefect api",)),
    Check("worker", worker, ("work pool",)),
)
