"""What the Prefect server says: workers, starts, runs. Only questions that Prefect Cloud answers too."""

import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from blocks.domain.errors import DeploymentMissingError
from blocks.domain.names import (
    EMAILS_QUEUE,
    FILES_QUEUE,
    INGEST_FLOW,
    NOTIFY_FLOW,
    SWEEP_FLOW,
    WORK_POOL,
    deployment_name,
)
from deployments.commands.status.seen import Runs, Starts, Worker, Workers
from deployments.embedded.health import call
from deployments.warm_starts.status import socket_of, status

Ask = Callable[[str, object], Any]
"""The JSON answer to a path of the API and a body; GET without a body, else POST."""

_QUEUES: Final = {INGEST_FLOW: FILES_QUEUE, NOTIFY_FLOW: EMAILS_QUEUE, SWEEP_FLOW: ""}

_STATES: Final[dict[str, dict[str, Any]]] = {
    "running": {"state": {"type": {"any_": ["RUNNING"]}}},
    "pending": {"state": {"type": {"any_": ["PENDING", "CANCELLING"]}}},
    "late": {"state": {"name": {"any_": ["Late"]}}},
}

_POOL: Final = f"/work_pools/{WORK_POOL}"

_TIMEOUT_SECONDS: Final = 5


class PrefectParts:
    """Asks the server that PREFECT_API_URL names.

    `import prefect` takes a second. A server on plain HTTP, such as that of the embedded stack, is asked without it,
    unless it wants credentials that no variable has (docs/decisions/0053-status-without-importing-prefect.md).
    """

    def __init__(self) -> None:
        self._ask: Ask | None = None

    def pool(self) -> dict[str, Any]:
        """The work pool as the API has it. It is asked for first: the answer says how to ask.

        Raises:
            ApiMissingError: PREFECT_API_URL is not set.
            ApiRefusedError: the server does not take the credentials.
            DeploymentMissingError: there is no such pool: nothing was deployed to this server.
        """
        try:
            self._ask = self._ask or _plain_ask() or _prefects_ask()
            answer: dict[str, Any] = self._ask(_POOL, None)
        except OSError:  # it wants credentials or does not answer: Prefect's client has the former, and says why
            self._ask = _prefects_ask()
            answer = self._ask(_POOL, None)
        return answer

    def queues(self, pool: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The work queues of the pool, by name."""
        return {each["name"]: each for each in self.ask(f"/work_pools/{pool['name']}/queues/filter", {})}

    def workers(self, pool: dict[str, Any], queues: dict[str, dict[str, Any]]) -> Workers:
        """The workers of the pool."""
        found = self.ask(f"{_POOL}/workers/filter", {})
        online = [each for each in found if each["status"] == "ONLINE"]
        paused = [f"work-pool resume {WORK_POOL}"] if pool["is_paused"] else []
        paused += [f"work-queue resume {name} --pool {WORK_POOL}" for name, each in queues.items() if each["is_paused"]]
        return Workers(tuple(map(_worker, online)), len(found), tuple(paused))

    def runs(self, queues: dict[str, dict[str, Any]], threads: Executor) -> tuple[Runs, ...]:
        """The runs that are active or late, by flow. Runs that are paused or scheduled have no process."""
        counts = {
            (flow, state): threads.submit(copy_context().run, self._count, flow, criteria)
            for flow in _QUEUES
            for state, criteria in _STATES.items()
        }
        limits = {flow: queues.get(name, {}).get("concurrency_limit") for flow, name in _QUEUES.items()}
        return tuple(
            Runs(flow, **{state: counts[flow, state].result() for state in _STATES}, limit=limits[flow])
            for flow in _QUEUES
        )

    def ask(self, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        assert self._ask is not None  # noqa: S101 - `pool` is called first
        return self._ask(path, body)

    def _count(self, flow: str, criteria: dict[str, Any]) -> int:
        body = {"flows": {"name": {"any_": [flow]}}, "flow_runs": criteria}
        answer: int = self.ask("/flow_runs/count", body)
        return answer


def starts(pool: dict[str, Any]) -> Starts:
    """How the runs of that pool start; a warm process is asked on this machine, which must be that of the worker."""
    socket = socket_of(pool["base_job_template"])
    if socket is None:
        return Starts("cold", "the work pool starts an interpreter for each run")
    try:
        found = status(socket)
    except OSError as error:
        return Starts("cold", f"no warm process answers here on {socket} ({error.strerror or error})")
    if found.problem:
        return Starts("cold", found.problem)
    return Starts("warm", "", found.forked, found.running)


def is_cloud() -> bool:
    """Whether the server is Prefect Cloud, which limits the requests a minute."""
    url = os.environ.get("PREFECT_API_URL")
    if url is None:  # Prefect's profile may name it; then Prefect is imported in any case
        from prefect.settings import get_current_settings

        url = get_current_settings().api.url or ""
    return "prefect.cloud" in url


def _worker(found: dict[str, Any]) -> Worker:
    heartbeat = datetime.fromisoformat(found["last_heartbeat_time"])
    return Worker(found["name"], heartbeat if heartbeat.tzinfo else heartbeat.replace(tzinfo=UTC))


def _plain_ask() -> Ask | None:
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    auth_string = os.environ.get("PREFECT_API_AUTH_STRING")
    if not url.startswith("http://"):
        return None
    return lambda path, body: call(f"{url}{path}", body, auth_string=auth_string)


def _prefects_ask() -> Ask:
    """As Prefect's own client asks, with the credentials and certificates of its profile; without repeating a call."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from deployments.server.api_access import refusals_explained, require_api

    require_api()
    patience = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: _TIMEOUT_SECONDS}
    with temporary_settings(patience):
        client = get_client(sync_client=True)

    def ask(path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        with refusals_explained(), temporary_settings(patience):
            try:
                answer = client.request("GET" if body is None else "POST", path, json=body)  # type: ignore[arg-type]
            except PrefectHTTPStatusError as error:
                if path == _POOL and error.response.status_code == HTTPStatus.NOT_FOUND:
                    raise DeploymentMissingError(deployment_name(INGEST_FLOW)) from error
                raise
            return answer.json()

    return ask
