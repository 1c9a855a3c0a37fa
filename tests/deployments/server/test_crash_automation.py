"""Runs whose process is gone are noticed."""

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
from deployments.server.crash_automation import AUTOMATION, ensure_crash_automation
from deployments.server.prefect_yaml import prefect_yaml
from tests.support.waiting import eventually

WITHIN = timedelta(seconds=10)
"""The shortest that a proactive trigger of Prefect 3.9 waits."""


@flow
def dead_for_a_while() -> None:
    """Nobody runs it: its runs only look as if somebody did."""


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


def until_the_server_watches(client: SyncPrefectClient) -> None:
    """Prefect 3.9.1 loads an automation anew some time after a change of it; events pass it by meanwhile."""
    for _ in range(3):
        first = client.create_flow_run(dead_for_a_while, tags=[DEPLOYMENT_TAG], state=Running())
        with suppress(TimeoutError):
            eventually(partial(is_crashed, client, first), 60, "a first run to be shown as crashed")
            return
    raise TimeoutError("the automation notices no run")


@pytest.mark.usefixtures("prefect_api")
def test_a_run_that_shows_nothing_any_more_is_crashed_and_those_that_ended_or_are_others_are_left_alone() -> None:
    with get_client(sync_client=True) as client:
        ensure_crash_automation(client, WITHIN)
        ensure_crash_automation(client, WITHIN)
        assert 1 == len(client.read_automations_by_name(AUTOMATION))
        until_the_server_watches(client)
        of_others = client.create_flow_run(dead_for_a_while, state=Running())
        asyncio.run(heartbeat(of_others))
        ended = client.create_flow_run(dead_for_a_while, tags=[DEPLOYMENT_TAG], state=Running())
        client.set_flow_run_state(ended.id, Completed(name="PartlyRejected"))
        left_alone = {
            "of others": of_others,
            "ended": ended,
            "waits": client.create_flow_run(dead_for_a_while, tags=[DEPLOYMENT_TAG], state=Paused(timeout_seconds=600)),
        }
        dead = {
            "handed over": client.create_flow_run(dead_for_a_while, tags=[DEPLOYMENT_TAG], state=Pending()),
            "begun": client.create_flow_run(dead_for_a_while, tags=[DEPLOYMENT_TAG], state=Running()),
            "once alive": client.create_flow_run(dead_for_a_while, state=Running()),
        }
        asyncio.run(heartbeat(dead["once alive"], DEPLOYMENT_TAG))
        for how, run in dead.items():
            eventually(partial(is_crashed, client, run), 60, f"{how}: shown as crashed")
        assert {"of others": StateType.RUNNING, "ended": StateType.COMPLETED, "waits": StateType.PAUSED} == {
            how: state_type(client, run) for how, run in left_alone.items()
        }


def test_runs_of_every_deployment_carry_the_tag() -> None:
    deployments = prefect_yaml()["deployments"]
    assert deployments
    assert all(DEPLOYMENT_TAG in deployment["tags"] for deployment in deployments)
