"""What makes it certain: whatever an event missed, or a crash left behind, is taken up again."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from botocore.exceptions import ClientError
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Crashed
from pydantic import Field

from blocks.domain.errors import PermissionMissingError
from blocks.domain.limits import FILES_PER_EVENT, in_groups
from blocks.domain.models import LedgerEntry, Notification, SensorFile, SweepReport
from flows.environment import environment
from flows.events.file_arrivals import announce
from flows.notification.wait import notify_later
from flows.recovery.active_runs import ended, runs_under_way
from flows.recovery.snapshot import Situation

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

OLDER_THAN_SECONDS: Final = 900
"""Age from which a file in `incoming/` is taken for stranded: an event takes seconds, a lease 15 minutes."""

DEAD_AFTER_SECONDS: Final = 900
"""Age of a run's last sign of life from which its process is taken for gone: a lease is renewed every 5 minutes."""

EVENTS_PER_SWEEP: Final = 20
"""Events that one sweep sends at most; the next one goes on. So a long backlog does not become runs all at once."""

OlderThanSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="Seconds that a file may be in incoming/, a run without a sign of life, and a result without an "
        "email before they are taken up.",
    ),
]

_AGAIN: Final[dict[str, Any]] = {"cache_policy": NO_CACHE, "retries": 2, "retry_delay_seconds": [2, 10]}


DeadAfterSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="Seconds without a sign of life after which a run that should have a process is shown as Crashed.",
    ),
]


@flow(name="sweep", description="Take up again what an event missed or a crash left behind.")
def sweep(
    older_than_seconds: OlderThanSeconds = OLDER_THAN_SECONDS, dead_after_seconds: DeadAfterSeconds = DEAD_AFTER_SECONDS
) -> SweepReport:
    """What was taken up: files announced again, emails resumed or sent after all. Where all is well, nothing."""
    situation = look_around(older_than_seconds, dead_after_seconds)
    if older := situation.older_sweep():
        get_run_logger().info("%s began before this one and is at work: nothing is left to do here", older.name)
        return SweepReport(left_to=older.name)
    dead = crash_dead_runs(situation)
    free_what_dead_runs_hold(situation)
    close_what_is_gone(situation)
    announced = announce_stranded(situation)
    resumed = resume_overdue(situation)
    notification = notify_untold(situation)
    return SweepReport(crashed=dead, announced=announced, resumed=resumed, notification=notification)


@task(task_run_name="look around", **_AGAIN)
def look_around(older_than_seconds: float, dead_after_seconds: float) -> Situation:
    """Who is at work on what, as ledger and Prefect server know it."""
    # The ledger first: a run that ends after that is taken for dead, or for alive, by what is newer.
    entries = environment().file_ledger.unfinished()
    with get_client(sync_client=True) as client:
        sweeps = {run.id: run for run in runs_under_way(client, "sweep")}
        this_one = sweeps.pop(str(flow_run.id), None)
        return Situation(
            now=datetime.now(UTC),
            patience=timedelta(seconds=older_than_seconds),
            entries=entries,
            ingests=runs_under_way(client, "ingest-sensor-files"),
            emails=runs_under_way(client, "notify"),
            ended=ended(client, {entry.flow_run_id for entry in entries if entry.flow_run_id}),
            sweeps=list(sweeps.values()),
            begun=this_one.since if this_one and this_one.by_schedule else None,
            dead_after=timedelta(seconds=dead_after_seconds),
        )


@task(task_run_name="crash dead runs", **_AGAIN)
def crash_dead_runs(situation: Situation) -> list[str]:
    """The names of the runs whose process is gone; they are shown as Crashed now, and keep no slot any more.

    An automation does so sooner (`deployments/server/crash_automation.py`), but what it has seen dies with the server.
    """
    dead = list(situation.dead())
    gone: State[Any] = Crashed(message="no sign of life: its process is gone; the sweep has taken up its files")
    with get_client(sync_client=True) as client:
        for run in dead:
            get_run_logger().warning("%s has been %s since %s, without a sign of life", run.name, run.state, run.since)
            client.set_flow_run_state(UUID(run.id), gone, force=True)
    return [run.name for run in dead]


@task(task_run_name="free what dead runs hold", **_AGAIN)
def free_what_dead_runs_hold(situation: Situation) -> None:
    """End the leases of runs that have ended without giving them back."""
    for entry in situation.left_behind():
        get_run_logger().warning("%s was being loaded by flow run %s, which died", entry.uri, entry.flow_run_id)
        environment().file_ledger.release(entry, f"flow run {entry.flow_run_id} died while it loaded the file")


@task(task_run_name="close what is gone", **_AGAIN)
def close_what_is_gone(situation: Situation) -> None:
    """Note for files that somebody took away, or replaced, before they were dealt with, that nobody ever will.

    A file that may not be looked at, one of another bucket, say, that a person has loaded, is left as it is: whatever
    else a sweep takes up must not wait for it.
    """
    blocks = environment()
    for entry in situation.abandoned():
        if entry.is_kept:
            blocks.file_ledger.close(entry, "archived", _what_is_known_of_a_second_load(entry))
            continue
        try:
            found = blocks.landing_zone.describe(SensorFile(bucket=entry.bucket, key=entry.key))
        except (PermissionMissingError, ClientError) as error:
            get_run_logger().warning("%s is neither loaded nor to be seen: %s", entry.uri, error)
            continue
        if found is None:
            blocks.file_ledger.close(entry, "missing", _what_is_known_of(entry))
        elif entry.version not in (found.version, found.etag):
            blocks.file_ledger.close(entry, "superseded", f"version {found.version} took its place; {_rows(entry)}")


@task(task_run_name="announce stranded files again", **_AGAIN)
def announce_stranded(situation: Situation) -> list[SensorFile]:
    """The files in `incoming/` for too long that no run has in hand; each is announced as the relay does it."""
    zone = environment().landing_zone
    stranded = situation.stranded(zone.waiting(situation.patience))
    groups = list(islice(_in_events(stranded, situation.suspects()), EVENTS_PER_SWEEP))
    for group in groups:
        announce(group, zone.incoming_prefix, occasion=f"sweep {situation.now.isoformat()}")
    announced = [file for group in groups for file in group]
    if announced:
        uris = ", ".join(file.uri for file in announced[:10])
        get_run_logger().info("%d file(s) announced again: %s", len(announced), uris)
    return announced


@task(task_run_name="resume overdue emails", **_AGAIN)
def resume_overdue(situation: Situation) -> list[str]:
    """The names of the runs whose wait was over without anything having resumed them; they are resumed now."""
    overdue = list(situation.overdue())
    with get_client(sync_client=True) as client:
        for run in overdue:
            get_run_logger().warning("%s has been paused since %s, longer than its wait", run.name, run.since)
            client.resume_flow_run(UUID(run.id))
    return [run.name for run in overdue]


def notify_untold(situation: Situation) -> Notification | None:
    """The email about files that were dealt with and about which nobody was told; None if there are none."""
    untold: list[LedgerEntry] = list(islice(situation.untold(), FILES_PER_EVENT))
    return notify_later(untold, 0) if untold else None


def _in_events(files: Iterable[SensorFile], alone: set[str]) -> Iterator[list[SensorFile]]:
    """The files as they are announced: those that a load has failed of one by one, the others together."""
    others: list[SensorFile] = []
    for file in files:
        if file.uri in alone:
            yield [file]
        else:
            others.append(file)
    yield from in_groups(others)


def _what_is_known_of(entry: LedgerEntry) -> str:
    archived = f"; a copy is at {entry.archived_to}" if entry.archived_to else ""
    return f"it was taken out of incoming/ by somebody else before it was dealt with; {_rows(entry)}{archived}"


def _what_is_known_of_a_second_load(entry: LedgerEntry) -> str:
    why = f": {entry.problem}" if entry.problem else ""
    return f"it was to be loaded again, and was not{why}; it is archived, and in the table, as the load before left it"


def _rows(entry: LedgerEntry) -> str:
    return "its rows are in the table" if entry.status == "loaded" else "some of its rows may be in the table"
