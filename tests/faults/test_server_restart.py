"""The Prefect server dies and starts again while a run is loading: the run goes on, and ends as if nothing had been.

A run of a deployment with a concurrency limit is beside it, for comparison. Its slot is a lease in the memory of the
server; the run renews it, is refused after the restart, and is ended by Prefect's engine. That run also says when the
time has come: what would end a run has happened by then.
"""

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.domain.names import FILES_QUEUE, INGEST_FLOW, WORK_POOL, deployment_name
from tests.faults.dropped_files import Dropper, FileVersion
from tests.faults.oracle import assert_nothing_lost_nothing_twice
from tests.faults.steps import COPY
from tests.faults.system import WITHIN_SECONDS, FaultySystem
from tests.support.waiting import eventually

RENEWAL_FRACTION: Final = 0.02
"""A lease is renewed after this part of its 300 s; 0.75 in Prefect 3.9.1, and neither is a setting."""

_HASTY_ENGINE: Final = f"""
import runpy
from prefect.concurrency import _leases
assert _leases._RENEWAL_FRACTION
_leases._RENEWAL_FRACTION = {RENEWAL_FRACTION}
runpy.run_module("prefect.engine", run_name="__main__")
"""
JOB_VARIABLES: Final = {"command": shlex.join([sys.executable, "-c", _HASTY_ENGINE])}

LEASE_LOST: Final = "Concurrency lease renewal failed"
"""What Prefect's engine logs when it ends a run whose lease the server does not know."""


@pytest.fixture
def client(system: FaultySystem) -> Iterator[SyncPrefectClient]:
    with system.as_client(), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def limited(client: SyncPrefectClient) -> Iterator[UUID]:
    """A deployment like that of ingest runs, but with a concurrency limit."""
    ours = client.read_deployment_by_name(deployment_name(INGEST_FLOW))
    made = client.create_deployment(
        ours.flow_id,
        "with-a-concurrency-limit",
        entrypoint=ours.entrypoint,
        parameters=ours.parameters,
        pull_steps=ours.pull_steps,
        work_pool_name=WORK_POOL,
        work_queue_name=FILES_QUEUE,
        job_variables=ours.job_variables,
        concurrency_limit=1,
    )
    yield made
    client.delete_deployment(made)


def test_a_long_run_outlives_a_restart_of_the_server(
    system: FaultySystem, files: Dropper, client: SyncPrefectClient, limited: UUID
) -> None:
    file, file_of_limited = files.new("restart"), files.new("restart, with a concurrency limit")
    ours = client.read_deployment_by_name(deployment_name(INGEST_FLOW)).id
    with system.arriving_together(), ExitStack() as held:  # the relay announces them once they are loaded
        holds = [
            held.enter_context(system.proxy.holding(COPY.of(each.name), "before")) for each in (file, file_of_limited)
        ]
        run = start(files, client, ours, file)
        with_lease = start(files, client, limited, file_of_limited)
        for hold in holds:
            assert hold.reached.wait(WITHIN_SECONDS), f"a run never came to the copy; {system.evidence()}"
        system.kill_part("server")
        system.wait_until_up()
        eventually(lambda: has_lost_its_lease(system, with_lease), WITHIN_SECONDS, "the run with a lease to lose it")
        held.close()
        ends = {each: end_of(client, each) for each in (run, with_lease)}
    assert {run: "PartlyRejected", with_lease: "Crashed"} == ends, system.evidence()
    assert not has_lost_its_lease(system, run)
    system.wait_until_finished([file])
    assert_nothing_lost_nothing_twice(system, [file], mails_at_most=1)


def start(files: Dropper, client: SyncPrefectClient, deployment: UUID, file: FileVersion) -> UUID:
    """The run of the deployment that loads the file."""
    files.drop(file)
    parameters = {"objects": [files.system.uri(file.key)]}
    return client.create_flow_run_from_deployment(deployment, parameters=parameters, job_variables=JOB_VARIABLES).id


def end_of(client: SyncPrefectClient, run: UUID) -> str:
    """The name of the run's final state, once it has one."""

    def final_state() -> str | None:
        state = client.read_flow_run(run).state
        return state.name if state and state.is_final() else None

    return eventually(final_state, WITHIN_SECONDS, "a run to end")


def has_lost_its_lease(system: FaultySystem, run: UUID) -> bool:
    logs: list[dict[str, Any]] = system.api("logs/filter", {"logs": {"flow_run_id": {"any_": [str(run)]}}})
    return any(LEASE_LOST in each["message"] for each in logs)
