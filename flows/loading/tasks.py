"""The tasks of one file, in their order: claim, validate, write, archive; or refuse, or give up."""

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run

from blocks.domain.errors import ObjectMissingError, SensorIngestError
from blocks.domain.models import SETTLED, FileReport, FileStatus, LedgerEntry, SensorFile, StoredFile
from blocks.domain.names import FILE_FAILED, FILE_LOADED, FILE_REFUSED
from blocks.domain.s3_keys import decoded_key
from blocks.saved_blocks import run_blocks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import lease_kept
from flows.loading.progress import LoadProgress, ProgressBar, terminal_bar
from flows.loading.step_runs import as_task_run, within_task_run
from flows.recovery.failures import permanent_problem, retry_condition
from flows.report import markdown_page
from flows.rows import ValidatedFile, ValidationSettings, validate_file

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

LOOK_AGAIN_SECONDS: Final = [0.5, 1.0, 2.0, 4.0]
"""Pauses before `claim` looks again for an object that does not exist yet: the event can be faster than S3."""

RETRY_SECONDS: Final = [2.0, 10.0, 30.0]
"""Pauses before a failed step is tried again, after the retries of botocore."""


def _not_there_yet(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    return isinstance(state.result(raise_on_failure=False), ObjectMissingError)


_RETRIED: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,
    "retries": len(RETRY_SECONDS),
    "retry_delay_seconds": RETRY_SECONDS,
    "retry_condition_fn": retry_condition,
}
"""Settings of the tasks on a claimed file, which are idempotent."""


@task(task_run_name="{file.name}", cache_policy=NO_CACHE)
def ingest_file(
    file: SensorFile,
    large_files: LargeFiles = LargeFiles(),  # noqa: B008 - it is frozen
    *,
    force: bool = False,
    show_steps: bool = True,
) -> FileReport:
    """What became of one file: it is claimed and validated, its accepted rows are written, and only then is it moved.

    Every step is idempotent: the same rows, the same copy. So another run can finish what this run leaves undone.
    """
    step = as_task_run if show_steps else within_task_run
    found, entry = step(claim)(file, force=force)
    if entry.status in SETTLED:
        return entry.model_copy(update={"already_done": entry.flow_run_id != flow_run.id})
    with lease_kept(entry, run_blocks().file_ledger), TemporaryDirectory(prefix="sensor-ingest-") as workspace:
        try:
            if entry.archived_to is None:
                run_blocks().landing_zone.check_key(found)
            if entry.attempts > run_blocks().file_ledger.attempts:
                return step(give_up)(found, entry)
            validated = step(validate_rows)(found, Path(workspace))
            if validated.verdict == "refused":
                return step(refuse_file)(found, validated, entry)
            step(write_readings)(found, validated, large_files)
            return step(archive_file)(found, validated, entry)
        except (ClientError, SensorIngestError) as error:
            problem = permanent_problem(error)
            if problem is None or entry.archived_to:  # an archived file stays archived if its second load fails
                raise
            return step(fail_for_good)(found, entry, problem)


@task(
    task_run_name="claim {file.name}",
    cache_policy=NO_CACHE,
    retries=len(LOOK_AGAIN_SECONDS),
    retry_delay_seconds=LOOK_AGAIN_SECONDS,
    retry_condition_fn=_not_there_yet,
)
def claim(file: SensorFile, *, force: bool = False) -> tuple[SensorFile, LedgerEntry]:
    """The file as S3 has it now, or as announced if it is gone, and its entry: `loading` if this run has claimed it.

    The current version in `incoming/` is claimed, also if an older one was announced. An object that is gone and has a
    settled entry was announced twice, as S3 delivers events at least once; with `force` it is loaded again from where
    it was archived.

    Raises:
        ObjectMissingError: the object does not exist and has no entry; retried after `LOOK_AGAIN_SECONDS`.
        PermissionMissingError: AWS refused a call; not retried.
        ClaimedElsewhereError: another run is loading the file; not retried.
    """
    ledger = run_blocks().file_ledger
    found = _found(file)
    if found:
        if not found.is_version_of(file) and found.etag != file.etag:
            ledger.supersede(
                file, found.version, flow_run.id
            )  # before the claim: `lease_kept` has not started yet, so nothing would release it
        entry = ledger.claim(found, flow_run.id, again=force)
        _move_settled(found, entry)
        return found, entry
    archived = ledger.archived(file) if force else None
    if archived:
        return _claimed_again(archived)
    settled = ledger.settled(file)
    if settled:
        return file, settled
    newer = ledger.newer_than(file)
    skipped = ledger.supersede(file, newer.version, flow_run.id) if newer else None
    if skipped:
        return file, skipped
    raise ObjectMissingError(file.uri, sum(LOOK_AGAIN_SECONDS))


@task(task_run_name="validate {file.name}", **_RETRIED)
def validate_rows(file: SensorFile, workspace: Path) -> ValidatedFile:
    """The good rows of the file, each key once, and its rejects with their reasons, stored in the workspace."""
    zone = run_blocks().landing_zone
    settings = ValidationSettings(
        sensor_id_pattern=zone.sensor_id_pattern, earliest=zone.earliest_timestamp, reject_limit=zone.reject_limit
    )
    with zone.opened(file) as body:
        validated = validate_file(body, workspace, settings)
    counts = validated.counts
    get_run_logger().info(
        "%s: %d rows, %d accepted, %d replaced, %d rejected%s",
        file.name,
        counts.rows,
        counts.accepted,
        counts.replaced,
        counts.rejected,
        f" - refused: {validated.refusal}" if validated.refusal else "",
    )
    return validated


@task(task_run_name="write {file.name}", **_RETRIED)
def write_readings(file: SensorFile, validated: ValidatedFile, large_files: LargeFiles) -> int:
    """The number of rows that DynamoDB has acknowledged: all accepted rows."""
    log, started = get_run_logger(), time.monotonic()
    if large_files.uses_shards(validated.counts.accepted):
        from flows.loading.shard_tasks import write_in_shards  # noqa: PLC0415 - only large files need it

        written = write_in_shards(file, validated, large_files)
    else:
        progress = LoadProgress(validated.counts.accepted, log.info, ProgressBar(f"Rows of {file.name} written"))
        with terminal_bar(file.name, validated.counts.accepted, progress) as shown:
            written = run_blocks().readings_table.write(validated.readings(), shown)
    seconds = time.monotonic() - started
    log.info("%s: %d rows written in %.1f s, %.0f a second", file.name, written, seconds, written / seconds)
    return written


@task(task_run_name="archive {file.name}", **_RETRIED)
def archive_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry) -> FileReport:
    """The report of a loaded file: its rejects are stored, then it moves from `incoming/` to `processed/`."""
    rejects_at = _store_rejects(entry, validated, refused=False)
    loaded = _with_result(entry, validated, status="loaded", rejects_at=rejects_at)
    run_blocks().file_ledger.record(loaded)
    return _settle(file, loaded, "archived", event=FILE_LOADED)


@task(task_run_name="refuse {file.name}", **_RETRIED)
def refuse_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry) -> FileReport:
    """The report of a refused file: it moves to `refused/` with its rejects, and no row is in the table."""
    rejects_at = _store_rejects(entry, validated, refused=True)
    return _settle(file, _with_result(entry, validated, rejects_at=rejects_at), "refused", event=FILE_REFUSED)


@task(task_run_name="give up {file.name}", **_RETRIED)
def give_up(file: SensorFile, entry: LedgerEntry) -> FileReport:
    """The report of a file that failed too often: it moves to `failed/`, and no run tries it again."""
    failures = entry.attempts - 1
    last = entry.problem or "the process that loaded it was killed"
    problem = f"{failures} loads of it have failed; move it back to incoming/ to try again. Last error: {last}"
    return _settle(file, entry.model_copy(update={"problem": problem}), "failed", event=FILE_FAILED)


@task(task_run_name="fail {file.name} for good", **_RETRIED)
def fail_for_good(file: SensorFile, entry: LedgerEntry, problem: str) -> FileReport:
    """The report of a file that no later load could load: it moves to `failed/`, or stays where S3 cannot copy it.

    Either way its entry is settled: no run loads this version again, and no other email is about it, until a person
    loads it with `force`.
    """
    entry = entry.model_copy(update={"problem": problem})
    try:
        return _settle(file, entry, "failed", event=FILE_FAILED)
    except (ClientError, SensorIngestError) as error:
        if permanent_problem(error) is None:
            raise
    stays = f"{problem} It stays in {run_blocks().landing_zone.incoming_prefix}."
    return _settle_in_place(entry.model_copy(update={"problem": stays}))


@task(task_run_name="report", cache_policy=NO_CACHE)
def publish_report(reports: list[FileReport]) -> None:
    """Show what became of the files on the page of the run in the Prefect UI."""
    create_markdown_artifact(markdown_page(reports), key="sensor-files")


def _found(file: SensorFile) -> StoredFile | None:
    """The object under its key as sent, or else under the decoded key.

    Sources disagree on whether EventBridge encodes keys. The key as sent comes first: it may contain a "+" or "%".
    """
    for key in dict.fromkeys((file.key, decoded_key(file.key))):
        found = _described(file.model_copy(update={"key": key}))
        if found:
            return found
    return None


def _described(file: SensorFile) -> StoredFile | None:
    """The object as it is now; as it is listed, where S3 says nothing about it to those who lack its key.

    It is claimed like any other: only the run that has claimed a file may settle it, and reading it ends the load.
    """
    blocks = run_blocks()
    try:
        return blocks.landing_zone.describe(file)
    except ClientError as error:
        if permanent_problem(error) is None:
            raise
    found = blocks.landing_zone.listed(file)
    entries = blocks.file_ledger.entries_of(file.bucket, file.key) if found else []
    known = next((entry for entry in entries if found and entry.etag == found.etag), None)
    if found is None or known is None:
        return found
    # A listing has no version ids: the entry of this content is found under what announced it first, event or sweep.
    return found.model_copy(update={"version_id": None if known.version == found.etag else known.version})


def _claimed_again(archived: LedgerEntry) -> tuple[SensorFile, LedgerEntry]:
    """The archived object, and the entry of the original file, claimed for a second load from there."""
    blocks = run_blocks()
    found = blocks.landing_zone.describe(SensorFile.model_validate(archived.archived_to))
    if found is None:
        raise ObjectMissingError(str(archived.archived_to), 0)
    # Without its version id: to read by version needs a permission that runs have for incoming/ only.
    return found.model_copy(update={"version_id": None}), blocks.file_ledger.claim_again(archived, flow_run.id)


def _settle(file: SensorFile, entry: LedgerEntry, status: FileStatus, *, event: str) -> LedgerEntry:
    """Copy the file, settle its entry, delete the original, in this order: a crash in between loses no file.

    A file that is loaded again from where it was archived stays there.
    """
    archived_to = entry.archived_to or run_blocks().landing_zone.store_copy(file, status)
    settled = _recorded(entry.model_copy(update={"status": status, "archived_to": archived_to}))
    if file.uri != archived_to:
        run_blocks().landing_zone.remove(file)
    _emit(event, settled)
    return settled


def _settle_in_place(entry: LedgerEntry) -> LedgerEntry:
    """Settle the entry of a file that cannot be moved: it stays in `incoming/`, and has no `archived_to`."""
    settled = _recorded(entry.model_copy(update={"status": "failed"}))
    _emit(FILE_FAILED, settled)
    return settled


def _recorded(entry: LedgerEntry) -> LedgerEntry:
    """The settled entry as it is in the ledger now."""
    settled = entry.model_copy(update={"finished_at": datetime.now(UTC), "lease_until": None})
    run_blocks().file_ledger.record(settled)
    return settled


def _emit(event: str, settled: LedgerEntry) -> None:
    emit_event(
        event=event,
        resource={"prefect.resource.id": settled.uri, "prefect.resource.name": settled.name},
        payload=settled.model_dump(mode="json"),
    )


def _move_settled(file: SensorFile, entry: LedgerEntry) -> None:
    """Move a settled file that is still in `incoming/`, where every sweep would find it again.

    One that failed for good may be a file that cannot be moved (`fail_for_good`).
    """
    if entry.status in ("archived", "refused", "failed") and not entry.stays_in_incoming:
        run_blocks().landing_zone.store_copy(file, entry.status)
        run_blocks().landing_zone.remove(file)


def _store_rejects(entry: LedgerEntry, validated: ValidatedFile, *, refused: bool) -> str | None:
    """The address of the stored rejects, named after the key that the file landed under; None without rejects."""
    if validated.rejects_path is None:
        return None
    landed = SensorFile(bucket=entry.bucket, key=entry.key, version_id=entry.version)
    return run_blocks().landing_zone.store_rejects(landed, validated.rejects_path, refused=refused)


def _with_result(entry: LedgerEntry, validated: ValidatedFile, **overrides: Any) -> LedgerEntry:  # noqa: ANN401 - fields
    results = {
        **validated.counts.model_dump(),
        "reasons": validated.reasons,
        "first_rejects": validated.first_rejects,
        "problem": validated.refusal,
        "summary": validated.summary,
    }
    return LedgerEntry.model_validate({**dict(entry), **results, **overrides})
