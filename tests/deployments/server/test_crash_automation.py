"""The automation that crashes silent runs."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import Event, RelatedResource, Resource
from prefect.events.clients import get_events_client
from prefect.states import Completed, Paused, Pending, Running

from blocks.domain.names import DEPLOYMENT_TAG
from deployments.server.crash_automation import AUTOMATION, ensure_crash_automation, silence_in
from deployments.server.prefect_yaml import prefect_yaml
from tests.support.waiting import eventually

WITHIN = timedelta(seconds=10)
"""Shortest time that a proactive trigger of Prefect 3.9 accepts."""


@flow
def silent_flow() -> None:
    """Never executed: its runs get a state without having a process."""


async def heartbeat(run: FlowRun, *tags: str) -> None:
    related = [
        RelatedResource({"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}) for tag in tags
    ]
    async with get_events_client(checkpoint_every=1) as client:
        resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"})
        await client.emit(Event(event="prefect.flow-run.heartbeat", resource=resource, related=related))


def state_type(client: SyncPrefectClient, run: FlowRun) -> StateType | None:
    return client.read_flow_run(run.id).state_type


def is_crashed(client: SyncPrefectClient, run: FlowRun) -> bool:
    return state_type(client, run) == StateType.CRASHED


def wait_for_the_trigger(client: SyncPrefectClient) -> None:
    """Prefect 3.9.1 reloads an automation some time after a change; until then its trigger ignores events."""
    for _ in range(3):
        first = client.create_flow_run(silent_flow, tags=[DEPLOYMENT_TAG], state=Running())
        with suppress(TimeoutError):
            eventually(partial(is_crashed, client, first), 60, "a first run to be crashed")
            return
    raise TimeoutError("the automation crashed no run")


@pytest.mark.usefixtures("prefect_api")
def test_a_silent_run_is_crashed_and_runs_that_ended_wait_or_belong_to_others_are_not() -> None:
    with get_client(sync_client=True) as client:
        ensure_crash_automation(client, WITHIN)
        ensure_crash_automation(client, WITHIN)
        assert 1 == len(client.read_automations_by_name(AUTOMATION))
        wait_for_the_trigger(client)
        of_others = client.create_flow_run(silent_flow, state=Running())
        asyncio.run(heartbeat(of_others))
        ended = client.create_flow_run(silent_flow, tags=[DEPLOYMENT_TAG], state=Running())
        client.set_flow_run_state(ended.id, Completed(name="PartlyRejected"))
        kept = {
            "of others": of_others,
            "ended": ended,
            "waits": client.create_flow_run(silent_flow, tags=[DEPLOYMENT_TAG], state=Paused(timeout_seconds=600)),
        }
        stalled = {
            "pending": client.create_flow_run(silent_flow, tags=[DEPLOYMENT_TAG], state=Pending()),
            "running": client.create_flow_run(silent_flow, tags=[DEPLOYMENT_TAG], state=Running()),
            "after a heartbeat": client.create_flow_run(silent_flow, state=Running()),
        }
        asyncio.run(heartbeat(stalled["after a heartbeat"], DEPLOYMENT_TAG))
        for how, run in stalled.items():
            eventually(partial(is_crashed, client, run), 60, f"the silent run to be crashed: {how}")
        assert {"of others": StateType.RUNNING, "ended": StateType.COMPLETED, "waits": StateType.PAUSED} == {
            how: state_type(client, run) for how, run in kept.items()
        }


def test_a_live_run_sends_more_than_one_heartbeat_before_it_counts_as_silent() -> None:
    for described in prefect_yaml()["deployments"]:
        heartbeat = int(described["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
        assert 3 * heartbeat < silence_in("process").total_seconds() <= 120 < silence_in("ecs").total_seconds()
