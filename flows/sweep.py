"""Makes loading certain: a sweep takes up what an event missed or a crash left behind."""

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
from blocks.domain.names import INGEST_FLOW, NOTIFY_FLOW, SWEEP_FLOW
from blocks.saved_blocks import run_blocks
from flows.events.file_arrivals import announce
from flows.notification.wait import notify_later
from flows.notify import notify
from flows.recovery import retry_decisions
from flows.recovery.runs import active_runs, ended_runs
from flows.recovery.snapshot import RecoverySnapshot

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

OLDER_THAN_SECONDS: Final = 900
"""Age from which a file in `incoming/` is announced again: an event takes seconds, a lease lasts 15 minutes."""

STALLED_AFTER_SECONDS: Final = 900
"""Age of a run's last sign of life from which it counts as stalled: a lease is renewed every 5 minutes."""

EVENTS_PER_SWEEP: Final = 20
"""The most events that one sweep sends; the next sweep goes on. So a long backlog does not start all runs at once."""

OlderThanSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="Seconds that a file may be in incoming/, a run without a sign of life, and a result without an "
        "email before a sweep takes them up.",
    ),
]
StalledAfterSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="Seconds without a sign of life after which a run that should have a process is set to Crashed.",
    ),
]

_RETRIED: Final[dict[str, Any]] = {"cache_policy": NO_CACHE, "retries": 2, "retry_delay_seconds": [2, 10]}


@flow(name=SWEEP_FLOW, description="Take up again what an event missed or a crash left behind.")
def sweep(
    older_than_seconds: OlderThanSeconds = OLDER_THAN_SECONDS,
    stalled_after_seconds: StalledAfterSeconds = STALLED_AFTER_SECONDS,
) -> SweepReport:
    """What was taken up: runs set to Crashed, files announced, emails resumed or scheduled; nothing if all is well."""
    snapshot = take_snapshot(older_than_seconds, stalled_after_seconds)
    if older := retry_decisions.older_sweep(snapshot):
        get_run_logger().info("%s started before this sweep and is running: it does the work", older.name)
        return SweepReport(left_to=older.name)
    crashed = crash_stalled_runs(snapshot)
    release_orphaned_leases(snapshot)
    close_abandoned_entries(snapshot)
    announced = announce_files_to_retry(snapshot)
    resumed = resume_overdue_emails(snapshot)
    notification = notify_unnotified(snapshot)
    return SweepReport(crashed=crashed, announced=announced, resumed=resumed, notification=notification)


@task(task_run_name="take snapshot", **_RETRIED)
def take_snapshot(older_than_seconds: float, stalled_after_seconds: float) -> RecoverySnapshot:
    """The unfinished ledger entries and the active runs, with the thresholds of this sweep."""
    # The ledger is read first: a run that ends in between is then judged by the newer of the two.
    entries = run_blocks().file_ledger.unfinished()
    with get_client(sync_client=True) as client:
        sweeps = {run.id: run for run in active_runs(client, SWEEP_FLOW)}
        this_one = sweeps.pop(str(flow_run.id), None)
        return RecoverySnapshot(
            now=datetime.now(UTC),
            patience=timedelta(seconds=older_than_seconds),
            entries=entries,
            ingests=active_runs(client, INGEST_FLOW),
            emails=active_runs(client, NOTIFY_FLOW),
            ended=ended_runs(client, {entry.flow_run_id for entry in entries if entry.flow_run_id}),
            sweeps=list(sweeps.values()),
            started=this_one.since if this_one and this_one.scheduled else None,
            stalled_after=timedelta(seconds=stalled_after_seconds),
        )


@task(task_run_name="crash stalled runs", **_RETRIED)
def crash_stalled_runs(snapshot: RecoverySnapshot) -> list[str]:
    """The names of the stalled runs, which are set to Crashed and so give up their slots.

    An automation does this sooner (`deployments/server/crash_automation.py`), but a server that restarts forgets what
    the automation has seen.
    """
    stalled = list(retry_decisions.stalled_runs(snapshot))
    crashed: State[Any] = Crashed(message="no sign of life: its process is gone; the sweep takes up its files")
    with get_client(sync_client=True) as client:
        for run in stalled:
            get_run_logger().warning("%s has been %s since %s, without a sign of life", run.name, run.state, run.since)
            client.set_flow_run_state(UUID(run.id), crashed)  # not by force: a run that has ended since stays as it is
    return [run.name for run in stalled]


@task(task_run_name="release orphaned leases", **_RETRIED)
def release_orphaned_leases(snapshot: RecoverySnapshot) -> None:
    """Release the leases of runs that ended without doing so."""
    for entry in retry_decisions.orphaned_leases(snapshot):
        get_run_logger().warning(
            "%s was being loaded by flow run %s, which ended without releasing its lease", entry.uri, entry.flow_run_id
        )
        run_blocks().file_ledger.release(entry, f"flow run {entry.flow_run_id} died while it loaded the file")


@task(task_run_name="close abandoned entries", **_RETRIED)
def close_abandoned_entries(snapshot: RecoverySnapshot) -> None:
    """Settle the entries of files that were deleted or replaced, and of second loads that did not finish.

    A file that may not be looked at, such as one of another bucket that a person has loaded, keeps its entry: the rest
    of the sweep must not wait for it.
    """
    blocks = run_blocks()
    for entry in retry_decisions.abandoned_entries(snapshot):
        if entry.is_kept:
            blocks.file_ledger.close(entry, "archived", _problem_of_reload(entry))
            continue
        try:
            found = blocks.landing_zone.describe(SensorFile(bucket=entry.bucket, key=entry.key))
        except (PermissionMissingError, ClientError) as error:
            get_run_logger().warning("%s is not loaded, and cannot be looked at: %s", entry.uri, error)
            continue
        if found is None:
            blocks.file_ledger.close(entry, "missing", _problem_of_missing(entry))
        elif entry.version not in (found.version, found.etag):
            blocks.file_ledger.close(entry, "superseded", f"version {found.version} replaced it; {_rows(entry)}")


@task(task_run_name="announce files to retry", **_RETRIED)
def announce_files_to_retry(snapshot: RecoverySnapshot) -> list[SensorFile]:
    """The files in `incoming/` that no run holds and that are not in back-off; they are announced again."""
    zone = run_blocks().landing_zone
    files = filter(_is_loadable, retry_decisions.files_to_retry(snapshot, zone.waiting(snapshot.patience)))
    groups = list(islice(_in_events(files, retry_decisions.poison_files(snapshot)), EVENTS_PER_SWEEP))
    for group in groups:
        announce(group, zone.incoming_prefix, occasion=f"sweep {snapshot.now.isoformat()}")
    announced = [file for group in groups for file in group]
    if announced:
        uris = ", ".join(file.uri for file in announced[:10])
        get_run_logger().info("%d file(s) announced again: %s", len(announced), uris)
    return announced


@task(task_run_name="resume overdue emails", **_RETRIED)
def resume_overdue_emails(snapshot: RecoverySnapshot) -> list[str]:
    """The names of the notify runs whose wait is over and which nothing has resumed; they are resumed now."""
    overdue = list(retry_decisions.overdue_emails(snapshot))
    with get_client(sync_client=True) as client:
        for run in overdue:
            get_run_logger().warning("%s has been paused since %s, longer than its wait", run.name, run.since)
            client.resume_flow_run(UUID(run.id))
    return [run.name for run in overdue]


def notify_unnotified(snapshot: RecoverySnapshot) -> Notification | None:
    """The email about settled files without one; None if there are none."""
    unnotified: list[LedgerEntry] = list(islice(retry_decisions.unnotified_entries(snapshot), FILES_PER_EVENT))
    return notify_later(unnotified, 0, notify) if unnotified else None


def _in_events(files: Iterable[SensorFile], alone: set[str]) -> Iterator[list[SensorFile]]:
    """The files as they are announced: poison files one by one, the others in groups."""
    others: list[SensorFile] = []
    for file in files:
        if file.uri in alone:
            yield [file]
        else:
            others.append(file)
    yield from in_groups(others)


def _is_loadable(file: SensorFile) -> bool:
    """Whether a run could do something about the file: not if this content failed for good and stays where it is."""
    entries = run_blocks().file_ledger.entries_of(file.bucket, file.key)
    return not any(entry.stays_in_incoming and entry.etag == file.etag for entry in entries)


def _problem_of_missing(entry: LedgerEntry) -> str:
    step = "archived" if entry.status == "loaded" else "loaded"
    return f"it was deleted from incoming/ before it was {step}; {_rows(entry)}"


def _problem_of_reload(entry: LedgerEntry) -> str:
    why = f": {entry.problem}" if entry.problem else ""
    return f"a second load of it did not finish{why}; the file is archived, and its rows are those of the first load"


def _rows(entry: LedgerEntry) -> str:
    return "its rows are in the table" if entry.status == "loaded" else "some of its rows may be in the table"
