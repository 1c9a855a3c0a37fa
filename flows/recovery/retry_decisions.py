"""What a sweep takes up again, and when: files, runs, leases and emails. Pure decisions on a snapshot, no I/O."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from blocks.domain.models import SETTLED, LedgerEntry, SensorFile
from flows.recovery.snapshot import ActiveRun, RecoverySnapshot

RESUME_GRACE: Final = timedelta(seconds=60)
"""How long after its wait a paused run is overdue: the automation that resumes it takes a few seconds."""

LONGEST_BACK_OFF: Final = 4
"""The longest back-off, as a multiple of `patience`: an hour by default."""


def older_sweep(snapshot: RecoverySnapshot) -> ActiveRun | None:
    """A live sweep that started before this one; None if there is none, or if a person started this one.

    Two sweeps at once would take up the same files and email twice. Where no worker ran for hours, all scheduled sweeps
    of that time are due together. A sweep that a person starts, perhaps with thresholds of their own, always runs.
    """
    started = snapshot.started
    older = (run for run in snapshot.sweeps if run.state == "RUNNING" and started and run.since < started)
    return next((run for run in older if snapshot.is_alive(run, snapshot.stalled_after)), None)


def stalled_runs(snapshot: RecoverySnapshot) -> Iterator[ActiveRun]:
    """The runs without a sign of life, whose process is gone. Each of them keeps a slot that other runs wait for."""
    waited_with = snapshot.files_in_emails()  # a run that waits in its own process shows nothing but its paused email
    for run in [*snapshot.ingests, *snapshot.emails, *snapshot.sweeps]:
        waits_itself = run in snapshot.ingests and run.files & waited_with
        if not snapshot.is_alive(run, snapshot.stalled_after) and not waits_itself:
            yield run


def orphaned_leases(snapshot: RecoverySnapshot) -> Iterator[LedgerEntry]:
    """The entries whose lease belongs to a run that has ended without releasing it."""
    for entry in snapshot.entries:
        if entry.is_leased(snapshot.now) and entry.flow_run_id in snapshot.ended:
            yield entry


def abandoned_entries(snapshot: RecoverySnapshot) -> Iterator[LedgerEntry]:
    """The unsettled entries that no run works on."""
    in_runs = snapshot.files_in_runs()
    for entry in snapshot.entries:
        if entry.status not in SETTLED and not snapshot.is_held(entry) and entry.uri not in in_runs:
            yield entry


def files_to_retry(snapshot: RecoverySnapshot, waiting: Iterable[SensorFile]) -> Iterator[SensorFile]:
    """Of the files that wait in `incoming/`, those that no run holds and that are not in back-off."""
    held = snapshot.files_in_runs() | {entry.uri for entry in snapshot.entries if snapshot.is_held(entry)}
    backing_off = {(entry.uri, entry.etag) for entry in snapshot.entries if _in_back_off(snapshot, entry)}
    return (file for file in waiting if file.uri not in held and (file.uri, file.etag) not in backing_off)


def poison_files(snapshot: RecoverySnapshot) -> set[str]:
    """Addresses of the files of which more than one load has failed: they are announced one by one.

    So a file that kills each process that loads it takes other files down only twice. After one failure the process may
    be to blame, and a run for each of the files that it held would make all of them wait for one another.
    """
    return {entry.uri for entry in snapshot.entries if entry.status not in SETTLED and entry.attempts > 1}


def overdue_emails(snapshot: RecoverySnapshot) -> Iterator[ActiveRun]:
    """The paused notify runs whose wait is over and which nothing has resumed."""
    for run in snapshot.emails:
        if run.state == "PAUSED" and run.wait is not None and snapshot.now - run.since - RESUME_GRACE > run.wait:
            yield run


def unnotified_entries(snapshot: RecoverySnapshot) -> Iterator[LedgerEntry]:
    """The settled entries about which no email was sent and none is scheduled."""
    in_emails = snapshot.files_in_emails()
    alive = {run.id for run in snapshot.ingests if snapshot.is_alive(run)}
    for entry in snapshot.entries:
        long_ago = entry.finished_at is not None and snapshot.now - entry.finished_at > snapshot.patience
        if entry.status in SETTLED and long_ago and entry.uri not in in_emails and entry.flow_run_id not in alive:
            yield entry


def _in_back_off(snapshot: RecoverySnapshot, entry: LedgerEntry) -> bool:
    """Whether loads of the file that did not count failed so recently that another try would only send another email.

    Nothing else would ever end them, as they do not count as attempts: AWS may refuse the file's KMS key, for example.
    """
    refused = entry.tries - entry.attempts
    if entry.status in SETTLED or refused <= 0:
        return False
    back_off = snapshot.patience * min(1 << min(refused - 1, LONGEST_BACK_OFF), LONGEST_BACK_OFF)
    return snapshot.now - entry.claimed_at < back_off
