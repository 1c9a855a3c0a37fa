"""How many runs of the ingest deployment can start at once, so that no run waits for a slot inside Prefect."""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any, Final, Protocol

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from blocks.domain.errors import DeploymentMissingError
from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import FILES_QUEUE, INGEST_FLOW, WORK_POOL, deployment_name
from blocks.domain.text import OneLineLog
from blocks.runtime import runtime

INGEST_DEPLOYMENT: Final = deployment_name(INGEST_FLOW)

RUN_APPEARS_WITHIN_SECONDS: Final = 60.0
"""An event without a run at this age will start none; an automation needs less than a second."""

LIMIT_READ_EVERY_SECONDS: Final = 60.0
"""Deployment and work queue are read again at this interval: the limit may have changed in the UI."""

_STATES_WITH_SLOT: Final = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
"""Types of the states in which a run occupies a slot or is about to."""

_DUE_WITHIN: Final = timedelta(seconds=60)
"""A run scheduled for later occupies no slot yet."""

log: Final = OneLineLog(logging.getLogger(__name__))


class Slots(Protocol):
    """The run slots of the ingest deployment, as those use them who announce files."""

    def free(self) -> int:
        """The number of runs that could start at once. Raises while the Prefect server cannot be reached."""

    def take(self) -> bool:
        """Whether a slot was free, which is reserved now for the run of the event that is sent next."""


class DeploymentSlots:
    """The limit of the work queue for files, less the active runs, less the events whose runs do not exist yet.

    The server acknowledges an event before its automation creates the run. Until then the event itself occupies a slot;
    the run exists once the deployment has one run more than before. A run that was started otherwise frees the slot too
    early; then the limit of the work queue makes a run wait. Several threads may take slots.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._client: SyncPrefectClient | None = None
        self._events_without_run: deque[float] = deque()
        """When each was sent, oldest first."""
        self._runs_counted = 0
        self._limit_read_at = float("-inf")
        self._deployment_id = ""
        self.limit = RUNS_AT_ONCE

    def free(self) -> int:
        with self._lock, self._connection() as client:
            return self._free(client)

    def take(self) -> bool:
        with self._lock, self._connection() as client:
            if not self._free(client):
                return False
            if not self._events_without_run:
                self._runs_counted = self._count_runs(client)
            self._events_without_run.append(runtime().monotonic())
            return True

    def _free(self, client: SyncPrefectClient) -> int:
        self._read_limit(client)
        self._match_events_to_runs(client)
        due = (runtime().utc_now() + _DUE_WITHIN).isoformat()
        active = self._count_runs(
            client, state={"type": {"any_": _STATES_WITH_SLOT}}, expected_start_time={"before_": due}
        )
        return max(0, self.limit - active - len(self._events_without_run))

    @contextmanager
    def _connection(self) -> Iterator[SyncPrefectClient]:
        """The client of the previous call, as opening one takes longer than a request; after a failure a new client."""
        client = self._client or get_client(sync_client=True).__enter__()
        self._client = None
        try:
            yield client
        except BaseException:
            client.__exit__(*sys.exc_info())
            raise
        self._client = client

    def _read_limit(self, client: SyncPrefectClient) -> None:
        """Read the id of the deployment, and the limit of its work queue, which a person may edit in the UI.

        Raises:
            DeploymentMissingError: the server has no such deployment, so an event would start no run.
        """
        if runtime().monotonic() - self._limit_read_at < LIMIT_READ_EVERY_SECONDS:
            return
        try:
            self._deployment_id = str(client.read_deployment_by_name(INGEST_DEPLOYMENT).id)
        except ObjectNotFound as error:
            raise DeploymentMissingError(INGEST_DEPLOYMENT) from error
        try:
            limit = client.read_work_queue_by_name(FILES_QUEUE, work_pool_name=WORK_POOL).concurrency_limit
        except ObjectNotFound:
            limit = None
        self.limit = RUNS_AT_ONCE if limit is None else limit
        self._limit_read_at = runtime().monotonic()

    def _match_events_to_runs(self, client: SyncPrefectClient) -> None:
        """Drop the events whose runs exist by now, and those too old to start one."""
        if not self._events_without_run:
            return
        counted = self._count_runs(client)
        for _ in range(min(counted - self._runs_counted, len(self._events_without_run))):
            self._events_without_run.popleft()
        self._runs_counted = counted
        while (
            self._events_without_run
            and runtime().monotonic() - self._events_without_run[0] > RUN_APPEARS_WITHIN_SECONDS
        ):
            self._events_without_run.popleft()
            log.warning(
                "an event was acknowledged %g s ago and has started no run of %s: is its automation enabled? "
                "Its files are announced again.",
                RUN_APPEARS_WITHIN_SECONDS,
                INGEST_DEPLOYMENT,
            )

    def _count_runs(self, client: SyncPrefectClient, **criteria: Any) -> int:  # noqa: ANN401 - JSON of Prefect's filters
        runs = {"flow_runs": {"deployment_id": {"any_": [self._deployment_id]}, **criteria}}
        answer: int = client.request("POST", "/flow_runs/count", json=runs).json()
        return answer
