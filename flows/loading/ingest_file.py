"""The story of one key: its versions are claimed, validated, written and archived, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Final

from botocore.exceptions import ClientError
from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.aws_block import AWS_ERRORS
from blocks.domain.errors import ObjectReplacedError, SensorIngestError
from blocks.domain.models import SETTLED, FileReport, LedgerEntry, SensorFile
from blocks.file_ledger.claiming import CurrentEmail, email_of
from blocks.file_ledger.emails import version_of
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.loading.claim_step import Claimed, claim
from flows.loading.large_files import LargeFiles
from flows.loading.lease import Lease, lease_kept
from flows.loading.step_runs import as_task_run, within_task_run
from flows.loading.tasks import (
    archive_file,
    fail_for_good,
    give_up,
    refuse_file,
    validate_rows,
    write_again,
    write_readings,
)
from flows.recovery.retry_policy import is_hopeless, permanent_problem
from flows.report import report_of_error

VERSIONS_PER_RUN: Final = 10
"""Versions of one key that a run loads, if they come faster than they are loaded; then another run goes on."""

Step = Callable[..., Callable[..., Any]]


@task(task_run_name="{file.name}", cache_policy=NO_CACHE)
def ingest_file(
    file: SensorFile,
    large_files: LargeFiles = LargeFiles(),  # noqa: B008 - it is frozen
    email: CurrentEmail = None,
    *,
    force: bool = False,
) -> list[FileReport]:
    """As `ingest_key`, with a task run for each step."""
    return ingest_key(file, large_files, email, as_task_run, force=force)


@task(task_run_name="files, thread {thread}", cache_policy=NO_CACHE)
def ingest_files(
    thread: int,  # noqa: ARG001 - the name of the task run has it
    waiting: "SimpleQueue[SensorFile]",
    large_files: LargeFiles,
    email: CurrentEmail,
    *,
    force: bool,
) -> list[FileReport]:
    """What became of the keys that this task run took off the queue, which several share until it is empty.

    A slow file keeps no other one waiting. One whose load fails ends with a report of the error.
    """
    reports = list[FileReport]()
    for file in _taken_off(waiting):
        reports += ingest_or_report(file, large_files, email, force=force)
    return reports


def ingest_or_report(
    file: SensorFile, large_files: LargeFiles, email: CurrentEmail, *, force: bool = False
) -> list[FileReport]:
    """As `ingest_key`, within the task run that it is called in; an error is logged, and becomes a report."""
    try:
        return ingest_key(file, large_files, email, within_task_run, force=force)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other files of the task run go on
        runtime().log().exception("%s failed", file.uri)
        return [report_of_error(file, error)]


def ingest_key(
    file: SensorFile, large_files: LargeFiles, email: CurrentEmail, step: Step, *, force: bool = False
) -> list[FileReport]:
    """What became of the versions of one key that this run has dealt with: as a rule of one.

    The key is claimed, the rows of its current version are written, and only then the file is moved. A version that
    comes meanwhile is loaded next. Every step is idempotent, so another run can finish what this run leaves undone.
    """
    claim_id, reports = runtime().unique_id(), list[FileReport]()
    for _ in range(VERSIONS_PER_RUN):
        lease: Lease | None = None
        try:
            claimed: Claimed = step(claim)(file, claim_id, email, force=force)
            reports = _with(claimed.reports, reports)
            if claimed.held is None:
                break
            with lease_kept(run_blocks().file_ledger, claimed.held, claimed.entry, email) as lease:
                reports = _with(_load(claimed, lease, large_files, step), reports)
        except Exception as error:
            done = _done_in_spite_of(error, file, lease, reports, email, force=force)
            if done is None and not reports:
                raise
            failed = claimed.file if lease else file  # another version than the announced one may have been claimed
            reports = _with([done or report_of_error(failed, error)], reports)
            break
        # A version may have been announced just before a reload, or a load of an archived file: look once more.
        is_from_incoming = claimed.entry is not None and claimed.entry.archived_to is None
        if is_from_incoming and not lease.key_stays_held:
            break
        file, force = SensorFile(bucket=claimed.held.claim.bucket, key=claimed.held.claim.key), False
    else:
        try:
            run_blocks().file_ledger.hand_over(file, claim_id)
        except AWS_ERRORS as error:  # what was loaded is reported all the same
            runtime().log().warning("The claim of %s could not be ended: %s", file.key, error)
    return reports


def _taken_off(waiting: "SimpleQueue[SensorFile]") -> Iterator[SensorFile]:
    with suppress(Empty):
        while True:
            yield waiting.get_nowait()


def _done_in_spite_of(
    error: Exception,
    file: SensorFile,
    lease: Lease | None,
    reports: Sequence[FileReport],
    email: CurrentEmail,
    *,
    force: bool,
) -> FileReport | None:
    """The report of a key whose rows are in the table although this error ended its load; None if the load failed."""
    log = runtime().log()
    if lease and lease.settled:  # the key stays due until the file has left `incoming/`
        problem = f"it could not be moved, which is tried again: {error}"
        log.warning("%s is %s; %s", lease.settled.uri, lease.settled.status, problem)
        why = lease.settled.problem  # of a refused file
        return lease.settled.model_copy(update={"problem": f"{why}; {problem}" if why else problem})
    if lease and lease.is_reload:  # its files are loaded: no email says that they failed
        log.warning("%s could not be written again, which is tried later: %s", file.key, error)
        return report_of_error(file, error).model_copy(update={"already_done": True})
    if lease is None and not force and (known := _done_before(file, reports, email)):
        log.warning("%s could not be looked at; nothing of it waits: %s", file.uri, error)
        return known
    return None


def _done_before(file: SensorFile, reports: Sequence[FileReport], email: CurrentEmail) -> FileReport | None:
    """The report of the key, if the ledger knows that nothing of it waits; then it was only to be looked at again.

    None too if this run may have settled what it does not report, as the answer was lost, and if the ledger cannot be
    asked.
    """
    ledger, reported = run_blocks().file_ledger, set(map(version_of, reports))
    with suppress(*AWS_ERRORS):
        known = ledger.entry(file)
        waits = known is None or known.status not in SETTLED or ledger.claim_of(known.bucket, known.key).unsettled
        mine = ledger.settled_for(email_of(email) or "", [(file.bucket, file.key)])
        if known and not waits and {*map(version_of, mine)} <= reported:
            return known.model_copy(update={"already_done": True})
    return None


def _with(later: Sequence[FileReport], reports: Sequence[FileReport]) -> list[FileReport]:
    """The reports with later ones: one for each version, the last that says what this run has done."""
    reported = {report.version for report in reports}
    news = [each for each in later if not (each.already_done and each.version in reported)]
    again = {each.version for each in news}
    return [*(report for report in reports if report.version not in again), *news]


def _load(claimed: Claimed, lease: Lease, large_files: LargeFiles, step: Step) -> list[FileReport]:
    """The report of the claimed version; none of a version that was replaced before it was loaded and moved."""
    found, entry = claimed.file, claimed.entry
    if entry is None:
        for archived in claimed.reload:
            step(write_again)(archived, lease)
        return []
    try:
        return _settled(found, entry, lease, large_files, step)
    except ObjectReplacedError as replaced:
        # With rows that may arrive late, the claim has to end, which records them; its target is no newer version.
        if lease.unanswered or lease.settled or replaced.uri != found.uri:
            raise
        lease.key_stays_held = True  # the next claim settles this version as superseded
        return []


def _settled(
    found: SensorFile, entry: LedgerEntry, lease: Lease, large_files: LargeFiles, step: Step
) -> list[FileReport]:
    """The report of the version as it is settled: archived, refused, or failed for good."""
    try:
        if entry.archived_to is None:
            run_blocks().landing_zone.check_key(found)
        if is_hopeless(entry):
            return [step(give_up)(found, entry, lease)]
        with TemporaryDirectory(prefix="sensor-ingest-") as workspace:
            validated = step(validate_rows)(found, Path(workspace), entry.key)
            if validated.verdict == "refused":
                return [step(refuse_file)(found, validated, entry, lease)]
            step(write_readings)(found, validated, large_files, lease)
            return [step(archive_file)(found, validated, entry, lease)]
    except (ClientError, SensorIngestError) as error:
        problem = permanent_problem(error)
        if lease.settled or problem is None or entry.archived_to:
            raise  # an archived file stays archived if its second load fails
        return [step(fail_for_good)(found, entry, problem, lease)]
