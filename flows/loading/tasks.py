"""The steps of one version after its claim, in their order: validate, write, archive; or refuse, or give up."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from botocore.exceptions import ClientError
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from blocks.domain.errors import ArchivedFileRefusedError, ObjectReplacedError, SensorIngestError
from blocks.domain.models import FileReport, FileStatus, LedgerEntry, SensorFile
from blocks.domain.names import FILE_FAILED, FILE_LOADED, FILE_REFUSED
from blocks.readings_table import ReadingsTable
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.loading.large_files import LargeFiles
from flows.loading.lease import Lease
from flows.loading.progress import LoadProgress, ProgressBar, terminal_bar
from flows.recovery.retry_policy import permanent_problem, retry_condition
from flows.report import markdown_page
from flows.rows import ValidatedFile, ValidationSettings, validate_file

RETRY_SECONDS: Final = [2.0, 10.0, 30.0]
"""Pauses before a failed step is tried again, after the retries of botocore."""


_RETRIED: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,
    "retries": len(RETRY_SECONDS),
    "retry_delay_seconds": RETRY_SECONDS,
    "retry_condition_fn": retry_condition,
}
"""Settings of the tasks on a claimed file, which are idempotent."""


@task(task_run_name="validate {file.name}", **_RETRIED)
def validate_rows(file: SensorFile, workspace: Path, landed_as: str) -> ValidatedFile:
    """The good rows of the file, each key once, and its rejects with their reasons, stored in the workspace.

    The key that it landed under says which feed it belongs to.

    Raises:
        FeedMissingError: no feed covers that key.
        ObjectReplacedError: the bucket has another version by now, or none.
    """
    with run_blocks().landing_zone.opened_current(file) as body:
        validated = validate_file(body, workspace, _settings(landed_as))
    counts = validated.counts
    runtime().log().info(
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
def write_readings(file: SensorFile, validated: ValidatedFile, large_files: LargeFiles, lease: Lease) -> int:
    """The number of rows that DynamoDB has acknowledged: all accepted rows.

    Raises:
        LeaseLostError: another run may own the key; not retried.
    """
    log, started = runtime().log(), runtime().monotonic()
    if large_files.uses_shards(validated.counts.accepted):
        from flows.loading.shard_tasks import write_in_shards  # noqa: PLC0415 - only large files need it

        written = write_in_shards(file, validated, large_files, lease)
    else:
        progress = LoadProgress(validated.counts.accepted, log.info, ProgressBar(f"Rows of {file.name} written"))
        with terminal_bar(file.name, validated.counts.accepted, progress) as shown:
            written = _table_of(validated).write(
                validated.items(), shown, fence=lease.fence, on_unanswered=lease.note_unanswered
            )
    seconds = runtime().monotonic() - started
    log.info("%s: %d rows written in %.1f s, %.0f a second", file.name, written, seconds, written / seconds)
    return written


@task(task_run_name="write {archived.name} again", **_RETRIED)
def write_again(archived: LedgerEntry, lease: Lease) -> int:
    """The number of rows of an archived version that were written again.

    They are the rows that were written before, as rows of an older version may have come after them; of a feed that has
    changed since, those that it makes of the file now. None are written if the archived file is gone, or if its feed
    would refuse it now: a log line says so, and the other versions are written again.
    """
    zone = run_blocks().landing_zone
    found = zone.describe(SensorFile.model_validate(archived.archived_to))
    if found is None:
        runtime().log().warning("%s cannot be written again: %s is gone", archived.uri, archived.archived_to)
        return 0
    with TemporaryDirectory(prefix="sensor-ingest-") as workspace:
        try:
            with zone.opened(found.without_version_id()) as body:
                validated = validate_file(body, Path(workspace), _settings(archived.key))
        except ObjectReplacedError as gone:
            runtime().log().warning("%s cannot be written again: %s", archived.uri, gone)
            return 0
        if validated.refusal:
            runtime().log().warning("%s cannot be written again: %s", archived.uri, validated.refusal)
            return 0
        return _table_of(validated).write(validated.items(), fence=lease.fence, on_unanswered=lease.note_unanswered)


@task(task_run_name="archive {file.name}", **_RETRIED)
def archive_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry, lease: Lease) -> FileReport:
    """The report of a loaded file: its rejects are stored, then it moves from `incoming/` to `processed/`."""
    rejects_at = _store_rejects(entry, validated, refused=False)
    return _settle(file, _with_result(entry, validated, rejects_at=rejects_at), "archived", lease, event=FILE_LOADED)


@task(task_run_name="refuse {file.name}", **_RETRIED)
def refuse_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry, lease: Lease) -> FileReport:
    """The report of a refused file: it moves to `refused/` with its rejects, and no row is in the table.

    Raises:
        ArchivedFileRefusedError: it was loaded before, so its rows are in the table, and it stays archived.
    """
    if entry.archived_to:
        raise ArchivedFileRefusedError(entry.uri, validated.refusal or "")
    rejects_at = _store_rejects(entry, validated, refused=True)
    return _settle(file, _with_result(entry, validated, rejects_at=rejects_at), "refused", lease, event=FILE_REFUSED)


@task(task_run_name="give up {file.name}", **_RETRIED)
def give_up(file: SensorFile, entry: LedgerEntry, lease: Lease) -> FileReport:
    """The report of a file that failed too often: it moves to `failed/`, and no run tries it again.

    One that was loaded before stays archived.
    """
    failures = entry.attempts - 1
    last = entry.problem or "the process that loaded it was killed"
    if entry.archived_to:
        problem = f"{failures} further loads of it have failed; the rows of the first one stay. Last error: {last}"
        return _recorded(entry.model_copy(update={"status": "archived", "problem": problem}), lease)
    problem = f"{failures} loads of it have failed; move it back to incoming/ to try again. Last error: {last}"
    return _settle(file, entry.model_copy(update={"problem": problem}), "failed", lease, event=FILE_FAILED)


@task(task_run_name="fail {file.name} for good", **_RETRIED)
def fail_for_good(file: SensorFile, entry: LedgerEntry, problem: str, lease: Lease) -> FileReport:
    """The report of a file that no later load could load: it moves to `failed/`, or stays where S3 cannot copy it.

    Either way its entry is settled: no run loads this version again, and no other email is about it, until a person
    loads it with `force`.
    """
    entry = entry.model_copy(update={"problem": problem})
    try:
        return _settle(file, entry, "failed", lease, event=FILE_FAILED)
    except (ClientError, SensorIngestError) as error:
        if permanent_problem(error) is None:
            raise
    stays = f"{problem} It stays in {run_blocks().landing_zone.incoming_prefix}."
    settled = _recorded(entry.model_copy(update={"status": "failed", "problem": stays}), lease)
    lease.key_stays_held = True  # nothing has looked whether another version has come
    _emit(FILE_FAILED, settled)
    return settled


@task(task_run_name="report", cache_policy=NO_CACHE)
def publish_report(reports: list[FileReport]) -> None:
    """Show what became of the files on the page of the run in the Prefect UI."""
    create_markdown_artifact(markdown_page(reports), key="sensor-files")


def _settings(landed_as: str) -> ValidationSettings:
    feed, key_values = run_blocks().feeds.of_key(landed_as)
    return ValidationSettings(feed=feed, key_values=key_values, show_rows=run_blocks().readings_table.show_rows)


def _table_of(validated: ValidatedFile) -> ReadingsTable:
    return run_blocks().table_of(validated.settings.feed)


def _settle(file: SensorFile, entry: LedgerEntry, status: FileStatus, lease: Lease, *, event: str) -> LedgerEntry:
    """Copy the file, settle its entry, delete the original, in this order: a crash in between loses no file.

    A file that is loaded again from where it was archived stays there.
    """
    zone = run_blocks().landing_zone
    archived_to = entry.archived_to or zone.store_copy(file, status)
    settled = _recorded(entry.model_copy(update={"status": status, "archived_to": archived_to}), lease)
    if file.uri != archived_to and not zone.remove(file):
        lease.key_stays_held = True
    _emit(event, settled)
    return settled


def _recorded(entry: LedgerEntry, lease: Lease) -> LedgerEntry:
    """The settled entry as it is in the ledger now."""
    return lease.settle(entry.model_copy(update={"finished_at": runtime().utc_now()}))


def _emit(event: str, settled: LedgerEntry) -> None:
    resource = {"prefect.resource.id": settled.uri, "prefect.resource.name": settled.name}
    runtime().emit(event, resource, settled.model_dump(mode="json"))


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
        "rejects_stored": validated.rejects_stored,
        "problem": validated.refusal,
        "summary": validated.summary,
    }
    return LedgerEntry.model_validate({**dict(entry), **results, **overrides})
