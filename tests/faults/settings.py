"""How patient the system is: as it is installed, or hasty, so that a case need not wait for minutes."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import httpx
from prefect.client.orchestration import get_client

from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import EMAILS_QUEUE, FILES_QUEUE, WORK_POOL
from blocks.file_ledger import FileLedger
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME
from deployments.server.crash_automation import AUTOMATION, SILENCE, ensure_crash_automation

LARGE_FILES: Final[dict[str, Any]] = {"written_by": "threads"}
LARGE_FILES_IN_PROCESSES: Final[dict[str, Any]] = {"written_by": "processes", "from_rows": 1, "shards": 2}


@dataclass(frozen=True)
class Settings:
    """What people may set, as the cases set it. The sweep is never scheduled: recovery must not need it."""

    name: str
    lease_seconds: float
    patience_seconds: float
    """After which a table that takes nothing fails a load."""
    runs_at_once: int
    """Of ingest runs, and of emails."""
    heartbeat_seconds: int
    """Between two heartbeats of a run; Prefect takes 30 s at least."""
    stalled_after: timedelta
    """Without a sign of life a run is set to Crashed then, and gives up its slot."""
    notify_after_seconds: float
    large_files: dict[str, Any] = field(default_factory=lambda: LARGE_FILES)


def _default(block_type: type[Any], name: str) -> float:
    return float(block_type.model_fields[name].default)


AS_INSTALLED: Final = Settings(
    name="settings as installed",
    lease_seconds=_default(FileLedger, "claim_seconds"),
    patience_seconds=_default(ReadingsTable, "patience_seconds"),
    runs_at_once=RUNS_AT_ONCE,
    heartbeat_seconds=30,
    stalled_after=SILENCE,
    notify_after_seconds=15,  # not ten minutes, but still a paused run that an automation resumes
)

HASTY: Final = Settings(
    name="short leases",
    lease_seconds=6,
    patience_seconds=15,
    runs_at_once=8,  # files that a load died with are announced one by one
    heartbeat_seconds=30,
    stalled_after=timedelta(seconds=75),  # two heartbeats and a half
    notify_after_seconds=1,  # below ten seconds the email is scheduled instead of paused
)


def apply(settings: Settings, api_url: str) -> None:
    """Have the next runs obey the settings. Call it with a client of that server set up.

    Raises:
        KeyError: a block has no such field any more.
    """
    _save(FileLedger, "claim_seconds", settings.lease_seconds)
    _save(ReadingsTable, "patience_seconds", settings.patience_seconds)
    with get_client(sync_client=True) as client:
        for automation in client.read_automations_by_name(AUTOMATION):
            client.delete_automation(automation.id)
        ensure_crash_automation(client, settings.stalled_after)
    for deployment in httpx.post(f"{api_url}/deployments/filter", json={}).raise_for_status().json():
        variables = deployment["job_variables"]
        beats = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(settings.heartbeat_seconds)}
        changed: dict[str, Any] = {"job_variables": variables | {"env": variables.get("env", {}) | beats}}
        if deployment["name"] == "sweep":
            changed["paused"] = True
        if deployment["name"] == "ingest-sensor-files":
            changed["parameters"] = deployment["parameters"] | {
                "notify_after_seconds": settings.notify_after_seconds,
                "large_files": settings.large_files,
            }
        httpx.patch(f"{api_url}/deployments/{deployment['id']}", json=changed).raise_for_status()
    for queue in (FILES_QUEUE, EMAILS_QUEUE):
        url = f"{api_url}/work_pools/{WORK_POOL}/queues/{queue}"
        httpx.patch(url, json={"concurrency_limit": settings.runs_at_once}).raise_for_status()


def _save(block_type: type[Any], name: str, value: float) -> None:
    if name not in block_type.model_fields:
        raise KeyError(f"{block_type.__name__} has no field {name}")
    block_type.load(BLOCK_NAME).model_copy(update={name: value}).save(BLOCK_NAME, overwrite=True)
