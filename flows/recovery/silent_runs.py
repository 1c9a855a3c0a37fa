"""Runs that keep a slot for nothing: their process is gone, or no worker will ever take them up.

Prefect shows a run as Running for ever if its process and its worker died together. An automation crashes such runs
(`deployments/server/crash_automation.py`), but a server that restarts forgets what the automation has seen. To end a
run here only frees its slot: who owns a file is decided by the ledger.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Crashed

from blocks.domain.names import INGEST_FLOW, NOTIFY_FLOW, SWEEP_FLOW
from blocks.runtime import runtime

RUNS_PER_PAGE: Final = 20
"""Runs that are read at once: each may carry half a megabyte of parameters."""

HEARTBEAT_WITHIN: Final = timedelta(seconds=40)
"""A run that is alive gives a sign of life in this time: `prefect.yaml` sets a heartbeat every 30 s."""

TAKEN_WITHIN: Final = timedelta(seconds=100)
"""How long after its start time a scheduled run without a work queue may still be taken up by something else."""

_STATES_WITH_PROCESS: Final = ("PENDING", "RUNNING", "CANCELLING")
"""Types of states in which a run has a process, or is about to get one. Paused and scheduled runs show nothing."""

_EVENTS_BEFORE: Final = timedelta(days=1)
"""How far the clock of a run may differ from this one: its events carry its own time."""


@dataclass(frozen=True)
class ActiveRun:
    """A run of one of our flows that has a process, as the server shows it."""

    id: UUID
    name: str
    state: StateType
    last_sign: datetime
    """When it entered its state, or sent its last event, a heartbeat for example; on the clock of its machine."""
    is_deployed: bool
    """Whether a worker started it; others occupy no slot, and send heartbeats as the machine says."""


class SilentRunWatch:
    """Watches the runs from outside: a run is silent only if this process saw no sign of life for the whole time.

    While this process or the server is away, no sign can be seen: then the time begins anew.
    """

    def __init__(self, silence: timedelta) -> None:
        self._silence = silence.total_seconds()
        self._signs: dict[UUID, tuple[datetime, float]] = {}
        """The last sign of each run, and since when it is the last one, in monotonic seconds."""
        self._looked_at = float("-inf")

    def look(self, client: SyncPrefectClient) -> list[ActiveRun]:
        """The runs that have been silent for so long. Raises while the server cannot be reached."""
        active = [run for run in active_runs(client) if run.is_deployed]
        now = runtime().monotonic()
        known = self._signs if now - self._looked_at < self._silence / 2 else {}
        self._looked_at = now
        self._signs = {run.id: _newer(known.get(run.id), (run.last_sign, now)) for run in active}
        return [run for run in active if now - self._signs[run.id][1] >= self._silence]


def _newer(known: tuple[datetime, float] | None, seen: tuple[datetime, float]) -> tuple[datetime, float]:
    return known if known and known[0] >= seen[0] else seen


def silent_runs(client: SyncPrefectClient, silence: timedelta, *, other_than: str) -> list[ActiveRun]:
    """The runs that were silent for so long, and still were when they were looked at again.

    Heartbeats that were sent while the server was away are lost, so one look is not enough.

    Args:
        client: of the Prefect server.
        silence: the time without a sign of life.
        other_than: the id of the run that asks.
    """

    def silent() -> list[ActiveRun]:
        before = runtime().utc_now() - silence
        return [run for run in active_runs(client) if run.last_sign <= before and str(run.id) != other_than]

    last_signs = {run.id: run.last_sign for run in silent()}
    if not last_signs:
        return []
    runtime().sleep(min(HEARTBEAT_WITHIN, silence).total_seconds())
    return [run for run in silent() if last_signs.get(run.id) == run.last_sign]


def end_runs(client: SyncPrefectClient, runs: Iterable[ActiveRun]) -> list[str]:
    """The names of the runs, which have ended now: Cancelled if that was asked for, else Crashed.

    Not by force: a run that has ended since stays as it is.
    """
    ended: list[str] = []
    for run in runs:
        message = "no sign of life: its process is gone; its files and its email are taken up"
        cancelled = run.state == StateType.CANCELLING
        state: State[Any] = Cancelled(message=message) if cancelled else Crashed(message=message)
        runtime().log().warning("%s has been %s without a sign of life since %s", run.name, run.state, run.last_sign)
        client.set_flow_run_state(run.id, state)
        ended.append(run.name)
    return ended


def cancel_runs_without_queue(client: SyncPrefectClient) -> list[str]:
    """The names of the due runs that no worker will take up, as their work queue was deleted; they are Cancelled now.

    Emails are left out: there may be thousands of them, and they have no slot that files wait for.
    """
    before = (runtime().utc_now() - TAKEN_WITHIN).isoformat()
    due = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": before}}
    names: list[str] = []
    for run in list(_runs(client, [INGEST_FLOW, SWEEP_FLOW], due)):
        if run.deployment_id and run.work_queue_id is None:
            runtime().log().warning("%s is due, and its work queue was deleted: it is cancelled", run.name)
            client.set_flow_run_state(run.id, Cancelled(message="its work queue was deleted, so no worker takes it up"))
            names.append(run.name)
    return names


def active_runs(client: SyncPrefectClient) -> list[ActiveRun]:
    """The runs of our flows that have a process, as far as the server knows, each with its last sign of life."""
    with_process = {"state": {"type": {"any_": list(_STATES_WITH_PROCESS)}}}
    runs = list(_runs(client, [INGEST_FLOW, NOTIFY_FLOW, SWEEP_FLOW], with_process))
    signs = _last_events(client, [run.id for run in runs])
    return [
        ActiveRun(
            id=run.id,
            name=run.name,
            state=run.state.type,
            last_sign=max(run.state.timestamp, signs.get(run.id, run.state.timestamp)),
            is_deployed=run.deployment_id is not None,
        )
        for run in runs
        if run.state
    ]


def _last_events(client: SyncPrefectClient, run_ids: list[UUID]) -> dict[UUID, datetime]:
    """When the last event of each run occurred; counting the events of a day, by run, is one request."""
    if not run_ids:
        return {}
    now = runtime().utc_now()
    occurred = {"since": (now - _EVENTS_BEFORE).isoformat(), "until": (now + _EVENTS_BEFORE).isoformat()}
    resources = {f"prefect.flow-run.{run_id}": run_id for run_id in run_ids}
    filter_ = {"occurred": occurred, "resource": {"id": list(resources)}}
    counts = client.request("POST", "/events/count-by/resource", json={"filter": filter_}).json()  # type: ignore[arg-type] # Prefect knows this route from its UI
    return {resources[each["value"]]: datetime.fromisoformat(each["end_time"]) for each in counts}


def _runs(client: SyncPrefectClient, flow_names: list[str], criteria: dict[str, Any]) -> Iterator[FlowRun]:
    """The runs of these flows, page by page. One that changes its state meanwhile may be missed until the next look."""
    offset = 0
    while True:
        page = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=flow_names)),
            flow_run_filter=FlowRunFilter.model_validate(criteria),
            sort=FlowRunSort.ID_DESC,
            limit=RUNS_PER_PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < RUNS_PER_PAGE:
            return
        offset += len(page)
