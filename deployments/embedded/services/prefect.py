"""The Prefect server, its work pool, and the worker."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.error import HTTPError

from blocks.domain.names import WORK_POOL
from deployments.embedded.description import StackDescription
from deployments.embedded.health import answers, call
from deployments.embedded.parts import Part, PartProcess
from deployments.embedded.ports import LOOPBACK
from deployments.embedded.services.peers import can_tell

ENGINE_COMMAND: Final = (sys.executable, "-m", "prefect.engine")
"""Starts the process of a run."""
_WORKER: Final = "embedded"
_EXISTS: Final = 409

_POLL_SECONDS: Final = 0.5
"""Between two questions of the worker for runs that are due; 10 by default, most of the time until a run starts.

An idle stack uses 6.2 % of a core if it asks every second, 7.7 % at half a second (`benchmarks.burst --idle`).
"""


_PATIENCE_SECONDS: Final = 20
"""For an answer of the server: the first one takes long where the machine is busy, and `up` would end without it."""


def ask(stack: StackDescription, path: str, payload: object = None, *, method: str | None = None) -> Any:  # noqa: ANN401 - JSON
    """The answer of the stack's Prefect API; as `health.call`, but with more patience."""
    return call(
        f"{stack.prefect_api_url}/{path}",
        payload,
        method=method,
        auth_string=stack.auth_string,
        timeout_seconds=_PATIENCE_SECONDS,
    )


def server_part(stack: StackDescription, database_url: str, environment: Mapping[str, str]) -> Part:
    """The Prefect server, ready when it answers."""
    return Part(
        name="server",
        title="The Prefect server",
        command=[sys.executable, "-m", "deployments.embedded.services.guarded_server"],
        environment={**environment, **_auth(stack), **_server_settings(stack.prefect_port, database_url)},
        working_dir=stack.data_dir,
        log_file=stack.log_file("server"),
        ready=lambda _: answers(f"{stack.prefect_api_url}/health"),
        ready_within_seconds=120,  # the first start makes the tables
    )


def open_to_other_users(stack: StackDescription) -> str | None:
    """A warning, if other users of this machine can use the API, which starts any program; None if they cannot."""
    if stack.auth_string or can_tell(os.geteuid()):
        return None
    return (
        "other users of this machine can use the Prefect API, as this system does not say whose a connection is; "
        "to prevent it, stop the stack and set SENSOR_INGEST_AUTH_STRING=user:password (docs/security.md)"
    )


def _auth(stack: StackDescription) -> dict[str, str]:
    return {"PREFECT_SERVER_API_AUTH_STRING": stack.auth_string} if stack.auth_string else {}


def _server_settings(port: int, database_url: str) -> dict[str, str]:
    return {
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",  # also keeps uvicorn from writing a line per request
        # A burst makes thousands of task runs and events; by default each state of one is a transaction of its own.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # 0.5 is cut to 0 in 3.9: a core for nothing
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        # By default any page may read the answers; the guard refuses its requests as well.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{LOOPBACK}:{port},http://localhost:{port}",
    }


def make_process_pool(stack: StackDescription) -> None:
    """Make the work pool, so that worker and deployments, which both would make it, can start side by side.

    Raises:
        OSError: the server does not answer, or refuses.
    """
    try:
        ask(stack, "work_pools/", {"name": WORK_POOL, "type": "process"})
    except HTTPError as error:
        if error.code != _EXISTS:
            raise


def start_engines_directly(stack: StackDescription, command: Sequence[str] = ENGINE_COMMAND) -> None:
    """Have the worker start the process of a run with that command, once it has told the pool what can be set.

    Left to itself it starts a process that prepares a workspace, and that becomes the run's: Prefect is imported twice,
    for 1.3 s of a core. There is nothing to prepare, as the project is installed where the worker runs.

    Raises:
        OSError: the server does not answer, or refuses.
    """
    pool = f"work_pools/{WORK_POOL}"
    template = ask(stack, pool)["base_job_template"]
    template["variables"]["properties"]["command"]["default"] = shlex.join(command)
    ask(stack, pool, {"base_job_template": template}, method="PATCH")


def worker_part(stack: StackDescription, environment: Mapping[str, str]) -> Part:
    """The process worker, ready when the server has heard from it."""
    return Part(
        name="worker",
        title="The Prefect worker",
        command=[
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", WORK_POOL, "--type", "process", "--name", _WORKER, "--install-policy", "never"),
        ],
        environment={**environment, "PREFECT_WORKER_QUERY_SECONDS": str(_POLL_SECONDS)},
        working_dir=stack.data_dir,
        log_file=stack.log_file("worker"),
        ready=lambda worker: _heard_from_since(stack, worker),
        stop_within_seconds=20,
    )


def _heard_from_since(stack: StackDescription, worker: PartProcess) -> bool:
    try:
        workers = ask(stack, f"work_pools/{WORK_POOL}/workers/filter", {})
    except OSError:
        return False
    return any(
        each["name"] == _WORKER and datetime.fromisoformat(each["last_heartbeat_time"]).timestamp() > worker.started_at
        for each in workers
    )
