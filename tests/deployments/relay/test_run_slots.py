"""How many runs may begin, as a Prefect server counts them."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Pending, Running, Scheduled

from blocks.domain.errors import DeploymentMissingError
from deployments.relay.run_slots import APPEARS_WITHIN_SECONDS, READ_AGAIN_SECONDS, DeploymentSlots

LIMIT = 3


@flow(name="ingest-sensor-files")
def stand_in() -> None:
    """Has the name of the real one; nobody runs it."""


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    assert prefect_api
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[UUID]:
    limit = ConcurrencyLimitConfig(limit=LIMIT, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    made = client.create_deployment(
        client.create_flow(stand_in),
        "ingest-sensor-files",
        concurrency_limit=limit.limit,
        concurrency_options={"collision_strategy": limit.collision_strategy},  # type: ignore[arg-type] # as the CLI does
    )
    yield made
    client.delete_deployment(made)


def begin(client: SyncPrefectClient, deployment: UUID, state: "State[None]") -> UUID:
    return client.create_flow_run_from_deployment(deployment, state=state).id


def test_the_limit_is_that_of_the_deployment(deployment: UUID) -> None:
    assert deployment
    assert LIMIT == DeploymentSlots().free()


@pytest.mark.parametrize("state", [Scheduled(), Pending(), Running()], ids=lambda state: state.name)
def test_a_run_that_is_about_to_run_or_runs_has_a_slot(
    client: SyncPrefectClient, deployment: UUID, state: "State[None]"
) -> None:
    begin(client, deployment, state)
    assert LIMIT - 1 == DeploymentSlots().free()


@pytest.mark.parametrize(
    "state", [Completed(), Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))], ids=["ended", "tomorrow"]
)
def test_a_run_that_has_ended_or_is_not_due_has_none(
    client: SyncPrefectClient, deployment: UUID, state: "State[None]"
) -> None:
    begin(client, deployment, state)
    assert LIMIT == DeploymentSlots().free()


def test_there_are_never_less_than_none(client: SyncPrefectClient, deployment: UUID) -> None:
    for _ in range(LIMIT + 1):
        begin(client, deployment, Running())
    assert 0 == DeploymentSlots().free()


def test_an_event_has_a_slot_before_its_run_appears_and_the_run_has_it_then(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    slots = DeploymentSlots()
    free = [slots.free()]
    slots.take()
    slots.take()
    free.append(slots.free())
    run = begin(client, deployment, Running())
    free.append(slots.free())
    client.set_flow_run_state(run, Completed(), force=True)
    free.append(slots.free())
    begin(client, deployment, Completed())  # it was over before anybody looked
    free.append(slots.free())
    assert [LIMIT, LIMIT - 2, LIMIT - 2, LIMIT - 1, LIMIT] == free


def test_an_event_that_starts_no_run_gives_its_slot_back_and_that_is_said(
    deployment: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    assert deployment
    now = itertools.chain([0.0] * 3, itertools.repeat(APPEARS_WITHIN_SECONDS + 1))
    slots = DeploymentSlots(now=lambda: next(now))
    slots.take()
    assert LIMIT == slots.free()
    assert "has started no run of ingest-sensor-files/ingest-sensor-files: is its automation enabled?" in caplog.text


def test_a_limit_that_is_changed_is_noticed_after_a_while(client: SyncPrefectClient, deployment: UUID) -> None:
    now = iter([0.0, 0.0, READ_AGAIN_SECONDS - 1, READ_AGAIN_SECONDS, READ_AGAIN_SECONDS])
    slots = DeploymentSlots(now=lambda: next(now))
    free = [slots.free()]
    client.request("PATCH", f"/deployments/{deployment}", json={"concurrency_limit": 7})  # type: ignore[arg-type]
    free += [slots.free(), slots.free()]
    assert [LIMIT, LIMIT, 7] == free


@pytest.mark.usefixtures("prefect_api")
def test_without_the_deployment_nothing_may_be_sent() -> None:
    with pytest.raises(DeploymentMissingError, match=r"no deployment ingest-sensor-files.*sensor-ingest deploy"):
        DeploymentSlots().free()


def test_a_server_that_is_away_is_no_free_slot() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(Exception, match=r"(?i)connect"),
    ):
        DeploymentSlots().free()
