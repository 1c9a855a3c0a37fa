"""What the Prefect server knows about our runs: which have not ended, with which files, since when."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from blocks.domain.models import FileReport, SensorFile
from flows.notification.wait import wait_of
from flows.recovery.snapshot import ActiveRun

RUNS_PER_PAGE: Final = 20
"""Runs that are read at once: each may carry half a megabyte of parameters."""

_IDS_PER_QUERY: Final = 100


def active_runs(client: SyncPrefectClient, flow_name: str) -> list[ActiveRun]:
    """The runs of that flow in a non-terminal state, scheduled ones included."""
    return [_active_run(run) for run in _pages(client, flow_name)]


def ended_runs(client: SyncPrefectClient, run_ids: Collection[str]) -> set[str]:
    """Those of the run ids that the server knows in a terminal state; it may have forgotten others.

    Text that is no run id is skipped: one entry that somebody else wrote into the ledger must not fail every sweep.
    """
    ids = sorted(filter(None, map(_uuid, run_ids)))
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_PER_QUERY):
        filter_ = FlowRunFilter(
            id=FlowRunFilterId(any_=ids[start : start + _IDS_PER_QUERY]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        )
        found |= {str(run.id) for run in client.read_flow_runs(flow_run_filter=filter_)}
    return found


def _pages(client: SyncPrefectClient, flow_name: str) -> Iterator[FlowRun]:
    not_ended = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))),
    )
    offset = 0
    while True:
        page = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])),
            flow_run_filter=not_ended,
            sort=FlowRunSort.ID_DESC,
            limit=RUNS_PER_PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < RUNS_PER_PAGE:
            return
        offset += len(page)


def _uuid(run_id: str) -> UUID | None:
    try:
        return UUID(run_id)
    except ValueError:
        return None


def _active_run(run: FlowRun) -> ActiveRun:
    state = run.state
    if state is None:
        raise ValueError(f"the Prefect server shows no state for flow run {run.id}")
    return ActiveRun(
        id=str(run.id),
        name=run.name,
        state=state.type.value,
        since=state.timestamp,
        files=frozenset(_addresses(run.parameters)),
        wait=wait_of(run.tags) or _pause_in_its_process(run.parameters),
        scheduled=bool(run.auto_scheduled),
    )


def _pause_in_its_process(parameters: dict[str, Any]) -> timedelta | None:
    """The pause of a notify run that waits in its own process, whose end no automation watches."""
    pause = parameters.get("pause_seconds")
    if isinstance(pause, int | float) and 0 < pause < timedelta.max.total_seconds():
        return timedelta(seconds=pause)
    return None


def _addresses(parameters: dict[str, Any]) -> Iterator[str]:
    """The files in the parameters of either flow. Invalid ones are skipped: the run that has them fails by itself."""
    for key, model in (("objects", SensorFile), ("files", FileReport)):
        for value in parameters.get(key) or ():
            try:
                yield model.model_validate(value).uri
            except ValueError:
                continue
