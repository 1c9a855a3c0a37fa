"""The I/O on one file, step by step, as the Prefect UI shows it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run

from blocks.domain.errors import ObjectMissingError
from blocks.domain.models import SETTLED, FileReport, FileStatus, LedgerEntry, SensorFile, StoredFile
from blocks.domain.names import FILE_FAILED, FILE_LOADED, FILE_REFUSED
from blocks.domain.s3_keys import decoded_key
from blocks.saved_blocks import run_blocks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import lease_kept
from flows.loading.progress import LoadProgress, ProgressBar, terminal_bar
from flows.loading.step_runs import as_task_run, within_task_run
from flows.recovery.failures import retry_condition
from flows.report import markdown_page
from flows.rows import RowRules, ValidatedFile, validate_file

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

LOOK_AGAIN_SECONDS: Final = [0.5, 1.0, 2.0, 4.0]
"""Pauses before `claim` looks again for an object that is not there: an event, or a person, may be ahead of it."""

RETRY_SECONDS: Final = [2.0, 10.0, 30.0]
"""Pauses before a step is tried again whose connection broke; botocore has tried a few times by then."""


def _not_there_yet(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    return isinstance(state.result(raise_on_failure=False), ObjectMissingError)


_RETRIED: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,
    "retries": len(RETRY_SECONDS),
    "retry_delay_seconds": RETRY_SECONDS,
    "retry_condition_fn": retry_condition,
}
"""Settings of the tasks on a claimed file. All of them are idempotent."""


@task(task_run_name="{file.name}", cache_policy=NO_CACHE)
def ingest_file(
    file: SensorFile,
    large_files: LargeFiles = LargeFiles(),  # noqa: B008 - it is frozen
    *,
    force: bool = False,
    show_steps: bool = True,
) -> FileReport:
    """What became of one file: claimed, validated, its good rows written, and only then moved.

    Every step may be repeated: the same rows, the same copy. So another run can finish what this one leaves undone.
    """
    step = as_task_run if show_steps else within_task_run
    found, entry = step(claim)(file, force=force)
    if entry.status in SETTLED:
        return entry.model_copy(update={"already_done": entry.flow_run_id != flow_run.id})
    with lease_kept(entry, run_blocks().file_ledger), TemporaryDirectory(prefix="sensor-ingest-") as workspace:
        if entry.attempts > run_blocks().file_ledger.attempts:
            return step(give_up)(found, entry)
        validated = step(validate_rows)(found, Path(workspace))
        if validated.verdict == "refused":
            return step(refuse_file)(found, validated, entry)
        step(write_readings)(found, validated, large_files)
        return step(archive_file)(found, validated, entry)


@task(
    task_run_name="claim {file.name}",
    cache_policy=NO_CACHE,
    retries=len(LOOK_AGAIN_SECONDS),
    retry_delay_seconds=LOOK_AGAIN_SECONDS,
    retry_condition_fn=_not_there_yet,
)
def claim(file: SensorFile, *, force: bool = False) -> tuple[SensorFile, LedgerEntry]:
    """Where the file's content is right now, and its entry in the ledger: `loading` if it is ours to load.

    What is in `incoming/` counts, whichever version was announced: that one may have been replaced since. An object
    that is gone and in the ledger is dealt with, for S3 announces at least once, so some things twice; with `force` it
    is loaded again from where it went.

    Raises:
        ObjectMissingError: there is no such object, nor was there; looked for again after `LOOK_AGAIN_SECONDS`.
        PermissionMissingError: AWS refused; not tried again.
        ClaimedElsewhereError: another run is loading it.
    """
    ledger = run_blocks().file_ledger
    found = _found(file)
    if found:
        if not found.is_version_of(file):
            ledger.supersede(
                file, found.version, flow_run.id
            )  # first: once the file is claimed, `lease_kept` releases it
        entry = ledger.claim(found, flow_run.id, again=force)
        _clear_leftover(found, entry)
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
    """The file's good rows, each key once, and its rejects with their reasons, kept in the workspace."""
    zone = run_blocks().landing_zone
    rules = RowRules(
        sensor_id_pattern=zone.sensor_id_pattern, earliest=zone.earliest_timestamp, reject_limit=zone.reject_limit
    )
    with zone.opened(file) as body:
        validated = validate_file(body, workspace, rules)
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
    """The number of rows that DynamoDB has acknowledged: all that were accepted."""
    log, started = get_run_logger(), time.monotonic()
    if large_files.shared_out(validated.counts.accepted):
        from flows.loading.shard_tasks import write_in_shards  # noqa: PLC0415 - what small files need not wait for

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
    """The report of a loaded file: its rejects are stored first, then it leaves `incoming/` for `processed/`."""
    rejects_at = _store_rejects(entry, validated, refused=False)
    loaded = _with_result(entry, validated, status="loaded", rejects_at=rejects_at)
    run_blocks().file_ledger.record(loaded)
    return _settle(file, loaded, "archived", event=FILE_LOADED)


@task(task_run_name="refuse {file.name}", **_RETRIED)
def refuse_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry) -> FileReport:
    """The report of a refused file: none of it is in the table; it is under `refused/`, its rejects beside it."""
    rejects_at = _store_rejects(entry, validated, refused=True)
    return _settle(file, _with_result(entry, validated, rejects_at=rejects_at), "refused", event=FILE_REFUSED)


@task(task_run_name="give up {file.name}", **_RETRIED)
def give_up(file: SensorFile, entry: LedgerEntry) -> FileReport:
    """The report of a file that failed too often: it is under `failed/`, where no run looks for it."""
    failures = entry.attempts - 1
    last = entry.problem or "the process that loaded it ended without a word"
    problem = f"{failures} loads of it have failed, so it was put aside; move it back to be tried again. Last: {last}"
    return _settle(file, entry.model_copy(update={"problem": problem}), "failed", event=FILE_FAILED)


@task(task_run_name="report", cache_policy=NO_CACHE)
def publish_report(reports: list[FileReport]) -> None:
    """Show what became of the files on the run's page in the Prefect UI."""
    create_markdown_artifact(markdown_page(reports), key="sensor-files")


def _found(file: SensorFile) -> StoredFile | None:
    """The object, under its key as sent or else as it reads decoded.

    Sources disagree on whether EventBridge encodes keys. The key as sent comes first: it may hold a real "+" or "%".
    """
    for key in dict.fromkeys((file.key, decoded_key(file.key))):
        found = run_blocks().landing_zone.describe(file.model_copy(update={"key": key}))
        if found:
            return found
    return None


def _claimed_again(archived: LedgerEntry) -> tuple[SensorFile, LedgerEntry]:
    """The archived object, and the entry of the file that it was, to be loaded from there once more."""
    blocks = run_blocks()
    archived_at = archived.archived_to or archived.uri
    found = blocks.landing_zone.describe(SensorFile.model_validate(archived_at))
    if found is None:
        raise ObjectMissingError(archived_at, 0)
    # Read without naming the version: that would take a permission which runs have for incoming/ only.
    return found.model_copy(update={"version_id": None}), blocks.file_ledger.claim_again(archived, flow_run.id)


def _settle(file: SensorFile, entry: LedgerEntry, status: FileStatus, *, event: str) -> LedgerEntry:
    """Copy, note, then take away, in this order: whoever finds the file in `incoming/` later knows what became of it.

    A file that is loaded again from where it was archived stays there.
    """
    blocks = run_blocks()
    settled = entry.model_copy(
        update={
            "status": status,
            "archived_to": entry.archived_to or blocks.landing_zone.store_copy(file, status),
            "finished_at": datetime.now(UTC),
            "lease_until": None,
        }
    )
    blocks.file_ledger.record(settled)
    if file.uri != settled.archived_to:
        blocks.landing_zone.clear(file)
    emit_event(
        event=event,
        resource={"prefect.resource.id": settled.uri, "prefect.resource.name": settled.name},
        payload=settled.model_dump(mode="json"),
    )
    return settled


def _clear_leftover(file: SensorFile, entry: LedgerEntry) -> None:
    """Move what was dealt with and is still in `incoming/`, where the sweep would find it for ever."""
    if entry.status in ("archived", "refused", "failed"):
        run_blocks().landing_zone.store_copy(file, entry.status)
        run_blocks().landing_zone.clear(file)


def _store_rejects(entry: LedgerEntry, validated: ValidatedFile, *, refused: bool) -> str | None:
    """Where the refused rows are; they are named after the file as it landed, wherever it was read from."""
    if validated.rejects_path is None:
        return None
    landed = SensorFile(bucket=entry.bucket, key=entry.key, version_id=entry.version)
    return run_blocks().landing_zone.store_rejects(landed, validated.rejects_path, refused=refused)


def _with_result(entry: LedgerEntry, validated: ValidatedFile, **known: Any) -> LedgerEntry:  # noqa: ANN401 - fields
    found = {
        **validated.counts.model_dump(),
        "reasons": validated.reasons,
        "first_rejects": validated.first_rejects,
        "problem": validated.refusal,
        "summary": validated.summary,
    }
    return LedgerEntry.model_validate({**dict(entry), **found, **known})
