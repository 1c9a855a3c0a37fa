"""How many runs the ingest deployment may have now: so many that none of them has to wait inside Prefect."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from blocks.domain.errors import DeploymentMissingError
from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import INGEST_FLOW, deployment_name
from deployments.server.api_access import refusals_explained

INGEST_DEPLOYMENT: Final = deployment_name(INGEST_FLOW)

APPEARS_WITHIN_SECONDS: Final = 60.0
"""An event whose run is not there by then will have none; an automation needs less than a second."""

READ_AGAIN_SECONDS: Final = 60.0
"""After that the deployment is looked up again: somebody may have changed its limit, or made it anew."""

_BUSY: Final = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
"""Types of states in which a run has a slot, or is about to take one."""

_SOON: Final = timedelta(seconds=60)
"""A run that is scheduled for later than that takes no slot yet. One that waits for a slot is tried every 30 s."""

log = logging.getLogger("relay")


class Slots(Protocol):
    """Knows how many events may be sent."""

    def free(self) -> int:
        """The number of runs that would begin at once. Raises while the Prefect server cannot be reached."""

    def take(self) -> None:
        """Take one for the event that is about to be sent, which starts a run."""


class DeploymentSlots:
    """The slots of a deployment, counted by the Prefect server, less the events whose runs it does not show yet.

    An event is acknowledged before the automation that it triggers has made its run. In between the run is counted
    here: it has appeared once the deployment has one run more than before. Whoever else starts runs makes that too
    early at times; the limit of the deployment is the guard behind this.
    """

    def __init__(
        self, open_client: Callable[[], SyncPrefectClient] | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._open = open_client or (lambda: get_client(sync_client=True))
        self._now = now
        self._client: SyncPrefectClient | None = None
        self._sent: deque[float] = deque()
        self._runs_made = 0
        self._read_at = float("-inf")
        self._deployment_id = ""
        self.limit = RUNS_AT_ONCE

    def free(self) -> int:
        with self._asking() as client:
            self._read_deployment(client)
            self._find_what_appeared(client)
            soon = (datetime.now(UTC) + _SOON).isoformat()
            busy = self._count(client, state={"type": {"any_": _BUSY}}, expected_start_time={"before_": soon})
        return max(0, self.limit - busy - len(self._sent))

    def take(self) -> None:
        if not self._sent:
            with self._asking() as client:
                self._read_deployment(client)
                self._runs_made = self._count(client)
        self._sent.append(self._now())

    @contextmanager
    def _asking(self) -> Iterator[SyncPrefectClient]:
        """The client of last time, as making one takes longer than a question; after a failure another."""
        client = self._client or self._open().__enter__()
        self._client = None
        with refusals_explained():
            try:
                yield client
            except BaseException:
                client.__exit__(*sys.exc_info())
                raise
        self._client = client

    def _read_deployment(self, client: SyncPrefectClient) -> None:
        """Look up the deployment and the limit that it was given.

        Raises:
            DeploymentMissingError: there is none, so an event would be noticed by nobody.
        """
        if self._now() - self._read_at < READ_AGAIN_SECONDS:
            return
        try:
            found = client.read_deployment_by_name(INGEST_DEPLOYMENT)
        except ObjectNotFound as error:
            raise DeploymentMissingError(INGEST_DEPLOYMENT) from error
        limit = found.global_concurrency_limit
        self.limit = limit.limit if limit else RUNS_AT_ONCE
        self._deployment_id = str(found.id)
        self._read_at = self._now()

    def _find_what_appeared(self, client: SyncPrefectClient) -> None:
        if not self._sent:
            return
        made = self._count(client)
        for _ in range(min(made - self._runs_made, len(self._sent))):
            self._sent.popleft()
        self._runs_made = made
        while self._sent and self._now() - self._sent[0] > APPEARS_WITHIN_SECONDS:
            self._sent.popleft()
            log.warning(
                "an event was acknowledged %g s ago and has started no run of %s: is its automation enabled? "
                "The sweep will announce the event's files again.",
                APPEARS_WITHIN_SECONDS,
                INGEST_DEPLOYMENT,
            )

    def _count(self, client: SyncPrefectClient, **of_these: Any) -> int:  # noqa: ANN401 - JSON of Prefect's filters
        asked = {"flow_runs": {"deployment_id": {"any_": [self._deployment_id]}, **of_these}}
        answer: int = client.request("POST", "/flow_runs/count", json=asked).json()
        return answer
