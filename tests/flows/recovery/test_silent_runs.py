"""A run whose process is gone gives up its slot, and one that is alive never does."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events import Event, Resource
from prefect.events.clients import get_events_client
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled
from prefect.utilities.asyncutils import run_coro_as_sync

import flows.recovery.silent_runs as silent_runs_module
from blocks.runtime import Runtime, installed
from flows.recovery.silent_runs import (
    SilentRunWatch,
    active_runs,
    cancel_runs_without_queue,
    end_runs,
    silent_runs,
)
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

SILENCE = timedelta(seconds=100)
POOL = "watched"


class Clock(Runtime):
    """A runtime whose time the test sets, and whose sleep takes none."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def utc_now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@flow(name="ingest-sensor-files")
def stand_in() -> None:
    """A flow with the name of the real one; no test runs it."""


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with installed(clock):
        yield clock


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    assert prefect_api
    with get_client(sync_client=True) as client:
        yield client
        for run in active_runs(client):
            client.set_flow_run_state(run.id, Completed(), force=True)


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[UUID]:
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    made = client.create_deployment(client.create_flow(stand_in), "ingest-sensor-files", work_pool_name=POOL)
    yield made
    client.delete_deployment(made)


def run_of(client: SyncPrefectClient, deployment: UUID, state: "State[None]", name: str = "run") -> UUID:
    return client.create_flow_run_from_deployment(deployment, state=state, name=name).id


def beat(client: SyncPrefectClient, run_id: UUID, occurred: datetime) -> None:
    """Send a heartbeat of the run, as its process does, and wait until the server shows it."""
    event = Event(
        event="prefect.flow-run.heartbeat",
        resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run_id}"}),
        occurred=occurred,  # type: ignore[arg-type] # Prefect takes any moment
        id=uuid4(),
    )

    async def send() -> None:
        async with get_events_client(checkpoint_every=1) as events:
            await events.emit(event)

    run_coro_as_sync(send())
    eventually(lambda: any(run.id == run_id and run.last_sign == occurred for run in active_runs(client)), 60, "it")


def state_of(client: SyncPrefectClient, run_id: UUID) -> StateType | None:
    return client.read_flow_run(run_id).state_type


# ---- The watch -----------------------------------------------------------------------------------------------------


def looked_at(client: SyncPrefectClient, clock: Clock, watch: SilentRunWatch, seconds: list[int]) -> list[int]:
    """The times, of these, at which the watch calls a run silent."""
    stalled = []
    for clock.seconds in seconds:
        stalled += [int(clock.seconds)] if watch.look(client) else []
    return stalled


@pytest.mark.parametrize("state", [Pending(name="Submitting"), Running(), Cancelling()], ids=lambda state: state.name)
def test_a_run_that_was_seen_silent_all_the_time_is_silent(
    client: SyncPrefectClient, deployment: UUID, clock: Clock, state: "State[None]"
) -> None:
    run_of(client, deployment, state)
    assert [105, 120] == looked_at(client, clock, SilentRunWatch(SILENCE), [5, 20, 40, 60, 80, 99, 105, 120])


def test_a_run_is_alive_while_it_sends_events_whatever_its_clock_says(
    client: SyncPrefectClient, deployment: UUID, clock: Clock
) -> None:
    run, watch = run_of(client, deployment, Running()), SilentRunWatch(SILENCE)
    ahead = datetime.now(UTC) + timedelta(hours=3)
    for number in range(4):
        beat(client, run, ahead + timedelta(seconds=number))
        assert [] == looked_at(client, clock, watch, [number * 60, number * 60 + 30])
    assert [310] == looked_at(client, clock, watch, [240, 270, 310])


def test_the_time_begins_anew_after_the_server_or_the_watch_was_away(
    client: SyncPrefectClient, deployment: UUID, clock: Clock
) -> None:
    run_of(client, deployment, Running())
    watch = SilentRunWatch(SILENCE)
    assert [] == looked_at(client, clock, watch, [0, 30, 60, 90, 900, 930, 960, 990])
    assert [1000] == looked_at(client, clock, watch, [1000])


@pytest.mark.parametrize("state", [Scheduled(), Completed()], ids=lambda state: state.name)
def test_runs_without_a_process_are_not_watched(
    client: SyncPrefectClient, deployment: UUID, clock: Clock, state: "State[None]"
) -> None:
    run_of(client, deployment, state)
    assert [] == looked_at(client, clock, SilentRunWatch(SILENCE), [0, 40, 80, 120])


def test_a_run_that_no_worker_started_is_not_watched_as_it_keeps_no_slot(
    client: SyncPrefectClient, clock: Clock
) -> None:
    client.create_flow_run(stand_in, state=Running())
    assert [] == looked_at(client, clock, SilentRunWatch(SILENCE), [0, 40, 80, 120])


# ---- The two looks of a sweep ----------------------------------------------------------------------------------------


def test_a_run_that_is_silent_at_two_looks_is_silent(client: SyncPrefectClient, clock: Clock) -> None:
    run = client.create_flow_run(stand_in, state=Running()).id
    assert [] == silent_runs(client, SILENCE, other_than="")
    assert [] == clock.slept
    clock.seconds = 101
    assert [run] == [each.id for each in silent_runs(client, SILENCE, other_than="")]
    assert [40] == clock.slept
    assert [] == silent_runs(client, SILENCE, other_than=str(run))


def test_a_run_that_gives_a_sign_between_the_two_looks_is_alive(
    client: SyncPrefectClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server was away, its heartbeats were lost."""
    run = client.create_flow_run(stand_in, state=Running()).id
    clock.seconds = 1000
    monkeypatch.setattr(clock, "sleep", lambda _: beat(client, run, datetime.now(UTC)))
    assert [] == silent_runs(client, SILENCE, other_than="")


# ---- The end ---------------------------------------------------------------------------------------------------------


def test_a_silent_run_is_crashed_and_one_that_was_being_cancelled_is_cancelled(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    states: dict[str, State[None]] = {"pending": Pending(), "running": Running(), "cancelling": Cancelling()}
    ids = {name: run_of(client, deployment, state, name) for name, state in states.items()}
    assert states.keys() == set(end_runs(client, active_runs(client)))
    crashed, cancelled = StateType.CRASHED, StateType.CANCELLED
    assert {"pending": crashed, "running": crashed, "cancelling": cancelled} == {
        name: state_of(client, run) for name, run in ids.items()
    }


def test_a_run_that_has_ended_since_stays_as_it_is(client: SyncPrefectClient, deployment: UUID) -> None:
    run = run_of(client, deployment, Running())
    seen = active_runs(client)
    client.set_flow_run_state(run, Completed(), force=True)
    end_runs(client, seen)
    assert StateType.COMPLETED == state_of(client, run)


def test_due_runs_whose_work_queue_was_deleted_are_cancelled_and_no_others(
    client: SyncPrefectClient, deployment: UUID, clock: Clock
) -> None:
    lost, tomorrow = (
        run_of(
            client, deployment, Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=days)), f"in {days} days"
        )
        for days in (0, 1)
    )
    running = run_of(client, deployment, Running())
    clock.seconds = 200
    assert [] == cancel_runs_without_queue(client)
    client.delete_work_pool(POOL)
    clock.seconds = 50
    assert [] == cancel_runs_without_queue(client)
    clock.seconds = 200
    assert ["in 0 days"] == cancel_runs_without_queue(client)
    states = [state_of(client, run) for run in (lost, tomorrow, running)]
    assert [StateType.CANCELLED, StateType.SCHEDULED, StateType.RUNNING] == states


def test_all_runs_are_read_however_many_there_are(
    client: SyncPrefectClient, deployment: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silent_runs_module, "RUNS_PER_PAGE", 2)
    runs = {run_of(client, deployment, Running()) for _ in range(5)}
    assert runs == {run.id for run in active_runs(client)}
