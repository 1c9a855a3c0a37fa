"""How many runs can start at once, as a Prefect server counts them."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Pending, Running, Scheduled

from blocks.domain.errors import DeploymentMissingError
from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import FILES_QUEUE, WORK_POOL
from blocks.runtime import Runtime, installed
from flows.recovery.run_slots import LIMIT_READ_EVERY_SECONDS, RUN_APPEARS_WITHIN_SECONDS, DeploymentSlots

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

LIMIT = 3


@flow(name="ingest-sensor-files")
def stand_in() -> None:
    """A flow with the name of the real one; no test runs it."""


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    assert prefect_api
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def queue(client: SyncPrefectClient) -> Iterator[UUID]:
    """The work queue for files, with a limit."""
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
    with suppress(ObjectAlreadyExists):  # the other tests of this process share the server
        client.create_work_queue(FILES_QUEUE, work_pool_name=WORK_POOL)
    made = client.read_work_queue_by_name(FILES_QUEUE, work_pool_name=WORK_POOL)
    client.update_work_queue(made.id, concurrency_limit=LIMIT)
    yield made.id
    client.request("DELETE", f"/work_pools/{WORK_POOL}/queues/{FILES_QUEUE}")  # type: ignore[arg-type]


@pytest.fixture
def deployment(client: SyncPrefectClient, queue: UUID) -> Iterator[UUID]:
    assert queue
    made = client.create_deployment(
        client.create_flow(stand_in), "ingest-sensor-files", work_pool_name=WORK_POOL, work_queue_name=FILES_QUEUE
    )
    yield made
    client.delete_deployment(made)


class Clock(Runtime):
    """One whose monotonic clock shows these times, one after the other."""

    def __init__(self, times: Iterable[float]) -> None:
        self._times = iter(times)

    def monotonic(self) -> float:
        return next(self._times)


def create_run(client: SyncPrefectClient, deployment: UUID, state: "State[None]") -> UUID:
    return client.create_flow_run_from_deployment(deployment, state=state).id


def test_without_runs_the_limit_of_the_queue_is_free(deployment: UUID) -> None:
    assert deployment
    assert LIMIT == DeploymentSlots().free()


@pytest.mark.parametrize("state", [Scheduled(), Pending(), Running()], ids=lambda state: state.name)
def test_a_scheduled_pending_or_running_run_occupies_a_slot(
    client: SyncPrefectClient, deployment: UUID, state: "State[None]"
) -> None:
    create_run(client, deployment, state)
    assert LIMIT - 1 == DeploymentSlots().free()


@pytest.mark.parametrize(
    "state", [Completed(), Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))], ids=["ended", "tomorrow"]
)
def test_a_run_that_has_ended_or_is_not_due_occupies_no_slot(
    client: SyncPrefectClient, deployment: UUID, state: "State[None]"
) -> None:
    create_run(client, deployment, state)
    assert LIMIT == DeploymentSlots().free()


def test_more_runs_than_slots_leave_none_free(client: SyncPrefectClient, deployment: UUID) -> None:
    for _ in range(LIMIT + 1):
        create_run(client, deployment, Running())
    assert 0 == DeploymentSlots().free()


def test_an_event_occupies_a_slot_until_its_run_exists_and_then_the_run_does(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    slots = DeploymentSlots()
    free = [slots.free()]
    slots.take()
    slots.take()
    free.append(slots.free())
    run = create_run(client, deployment, Running())
    free.append(slots.free())
    client.set_flow_run_state(run, Completed(), force=True)
    free.append(slots.free())
    create_run(client, deployment, Completed())  # it ended before the slots were counted
    free.append(slots.free())
    assert [LIMIT, LIMIT - 2, LIMIT - 2, LIMIT - 1, LIMIT] == free


def test_an_event_that_starts_no_run_frees_its_slot_with_a_warning(
    deployment: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    assert deployment
    times = itertools.chain([0.0] * 3, itertools.repeat(RUN_APPEARS_WITHIN_SECONDS + 1))
    with installed(Clock(times)):
        slots = DeploymentSlots()
        slots.take()
        assert LIMIT == slots.free()
    assert "has started no run of ingest-sensor-files/ingest-sensor-files: is its automation enabled?" in caplog.text


def test_a_limit_that_a_person_changes_is_read_after_the_interval(
    client: SyncPrefectClient, deployment: UUID, queue: UUID
) -> None:
    assert deployment
    times = [0.0, 0.0, LIMIT_READ_EVERY_SECONDS - 1, LIMIT_READ_EVERY_SECONDS, LIMIT_READ_EVERY_SECONDS]
    with installed(Clock(times)):
        slots = DeploymentSlots()
        free = [slots.free()]
        client.update_work_queue(queue, concurrency_limit=7)
        free += [slots.free(), slots.free()]
    assert [LIMIT, LIMIT, 7] == free


def test_a_limit_of_nothing_leaves_no_slot(client: SyncPrefectClient, deployment: UUID, queue: UUID) -> None:
    assert deployment
    client.update_work_queue(queue, concurrency_limit=0)
    assert 0 == DeploymentSlots().free()


def test_a_queue_without_a_limit_and_a_missing_queue_count_as_one_with_the_default(
    client: SyncPrefectClient, deployment: UUID, queue: UUID
) -> None:
    assert deployment
    client.request("PATCH", f"/work_queues/{queue}", json={"concurrency_limit": None})  # type: ignore[arg-type]
    free = [DeploymentSlots().free()]
    client.request("PATCH", f"/work_queues/{queue}", json={"name": "renamed"})  # type: ignore[arg-type]
    free.append(DeploymentSlots().free())
    client.request("PATCH", f"/work_queues/{queue}", json={"name": FILES_QUEUE})  # type: ignore[arg-type]
    assert [RUNS_AT_ONCE, RUNS_AT_ONCE] == free


@pytest.mark.usefixtures("prefect_api")
def test_a_missing_deployment_is_an_error_with_its_remedy() -> None:
    with pytest.raises(DeploymentMissingError, match=r"no deployment ingest-sensor-files.*sensor-ingest deploy"):
        DeploymentSlots().free()


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(Exception, match=r"(?i)connect"),
    ):
        DeploymentSlots().free()
