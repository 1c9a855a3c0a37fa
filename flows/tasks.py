"""The I/O on one file, step by step, as the Prefect UI shows it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run

from blocks.dynamodb.errors import RowRefusedError, TableUnreachableError
from flows.environment import environment
from flows.errors import ArchiveError, ClaimedElsewhereError, ObjectMissingError, PermissionMissingError, ThrottledError
from flows.keys import decoded_key
from flows.models import FileReport, LedgerEntry, SensorFile
from flows.progress import LoadProgress, ProgressBar
from flows.readings import RowRules, ValidatedFile, validate_file
from flows.report import markdown_page

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

LOOK_AGAIN_SECONDS: Final = [0.5, 1.0, 2.0, 4.0]
"""Pauses before `claim` looks again for an object that is not there: an event, or a person, may be ahead of it."""

RETRY_SECONDS: Final = [2.0, 10.0, 30.0]
"""Pauses before a step is tried again whose connection broke; botocore has tried a few times by then."""

_FINAL = (
    ObjectMissingError,
    PermissionMissingError,
    ClaimedElsewhereError,
    ArchiveError,
    ThrottledError,
    RowRefusedError,
    TableUnreachableError,
)
"""Errors that would only come again; a table that throttles was waited for long enough before it became one."""


def _not_there_yet(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    return isinstance(state.result(raise_on_failure=False), ObjectMissingError)


def _may_pass(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    return not isinstance(state.result(raise_on_failure=False), _FINAL)


_TRIED_AGAIN: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,
    "retries": len(RETRY_SECONDS),
    "retry_delay_seconds": RETRY_SECONDS,
    "retry_condition_fn": _may_pass,
}
"""How tasks on a file that has been claimed are run; each may be repeated."""


@task(task_run_name="{file.name}", cache_policy=NO_CACHE)
def ingest_file(file: SensorFile) -> FileReport:
    """What became of one file: claimed, validated, its good rows written, and only then moved.

    Every step may be repeated: the same rows, the same copy. So another run can finish what this one leaves undone.
    """
    found, entry = claim(file)
    if entry.status != "loading":
        return entry.model_copy(update={"already_done": entry.flow_run_id != flow_run.id})
    with _released_on_failure(entry), TemporaryDirectory(prefix="sensor-ingest-") as workspace:
        validated = validate_rows(found, Path(workspace))
        if validated.verdict == "refused":
            return refuse_file(found, validated, entry)
        write_readings(found, validated)
        return archive_file(found, validated, entry)


@task(
    task_run_name="claim {file.name}",
    cache_policy=NO_CACHE,
    retries=len(LOOK_AGAIN_SECONDS),
    retry_delay_seconds=LOOK_AGAIN_SECONDS,
    retry_condition_fn=_not_there_yet,
)
def claim(file: SensorFile) -> tuple[SensorFile, LedgerEntry]:
    """The object as S3 has it now, and its entry in the ledger: `loading` if it is ours to load.

    An object that is gone and in the ledger is dealt with: S3 announces at least once, so some things twice.

    Raises:
        ObjectMissingError: there is no such object, nor was there; looked for again after `LOOK_AGAIN_SECONDS`.
        PermissionMissingError: AWS refused; not tried again.
        ClaimedElsewhereError: another run is loading it.
    """
    blocks = environment()
    # Sources disagree on whether EventBridge encodes keys. The key as sent comes first: it may hold a real "+" or "%".
    for key in dict.fromkeys((file.key, decoded_key(file.key))):
        found = blocks.landing_zone.describe(file.model_copy(update={"key": key}))
        if found:
            entry = blocks.file_ledger.claim(found, flow_run.id)
            _clear_leftover(found, entry)
            return found, entry
    settled = blocks.file_ledger.settled(file)
    if settled:
        return file, settled
    raise ObjectMissingError(file.uri, sum(LOOK_AGAIN_SECONDS))


@task(task_run_name="validate {file.name}", **_TRIED_AGAIN)
def validate_rows(file: SensorFile, workspace: Path) -> ValidatedFile:
    """The file's good rows, each key once, and its rejects with their reasons, kept in the workspace."""
    zone = environment().landing_zone
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


@task(task_run_name="write {file.name}", **_TRIED_AGAIN)
def write_readings(file: SensorFile, validated: ValidatedFile) -> int:
    """The number of rows that DynamoDB has acknowledged: all that were accepted."""
    log, started = get_run_logger(), time.monotonic()
    progress = LoadProgress(validated.counts.accepted, log.info, ProgressBar(f"Rows of {file.name} written"))
    written = environment().readings_table.write(validated.readings(), progress)
    seconds = time.monotonic() - started
    log.info("%s: %d rows written in %.1f s, %.0f a second", file.name, written, seconds, written / seconds)
    return written


@task(task_run_name="archive {file.name}", **_TRIED_AGAIN)
def archive_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry) -> FileReport:
    """The report of a loaded file: its rejects are stored first, then it leaves `incoming/` for `processed/`."""
    blocks = environment()
    rejects_at = _store_rejects(file, validated, refused=False)
    loaded = _with_result(entry, validated, status="loaded", rejects_at=rejects_at)
    blocks.file_ledger.record(loaded)
    archived = loaded.model_copy(
        update={
            "status": "archived",
            "archived_to": blocks.landing_zone.archive(file),
            "finished_at": datetime.now(UTC),
            "lease_until": None,
        }
    )
    blocks.file_ledger.record(archived)
    _announce("sensor-file.loaded", archived)
    return archived


@task(task_run_name="refuse {file.name}", **_TRIED_AGAIN)
def refuse_file(file: SensorFile, validated: ValidatedFile, entry: LedgerEntry) -> FileReport:
    """The report of a refused file: none of it is in the table; it is under `refused/`, its rejects beside it."""
    blocks = environment()
    rejects_at = _store_rejects(file, validated, refused=True)
    refused = _with_result(
        entry,
        validated,
        status="refused",
        rejects_at=rejects_at,
        archived_to=blocks.landing_zone.refuse(file),
        finished_at=datetime.now(UTC),
        lease_until=None,
    )
    blocks.file_ledger.record(refused)
    _announce("sensor-file.refused", refused)
    return refused


@task(task_run_name="report", cache_policy=NO_CACHE)
def publish_report(reports: list[FileReport]) -> None:
    """Show what became of the files on the run's page in the Prefect UI."""
    create_markdown_artifact(markdown_page(reports), key="sensor-files")


def _clear_leftover(file: SensorFile, entry: LedgerEntry) -> None:
    """Move what was dealt with and is still in `incoming/`, where the sweep would find it for ever."""
    if entry.status == "archived":
        environment().landing_zone.archive(file)
    elif entry.status == "refused":
        environment().landing_zone.refuse(file)


@contextmanager
def _released_on_failure(entry: LedgerEntry) -> Iterator[None]:
    """Give the file free for the next run if this one fails, instead of letting the lease run out."""
    try:
        yield
    except Exception:
        with suppress(Exception):  # the ledger may be what failed; the lease runs out then
            environment().file_ledger.release(entry)
        raise


def _store_rejects(file: SensorFile, validated: ValidatedFile, *, refused: bool) -> str | None:
    if validated.rejects_path is None:
        return None
    return environment().landing_zone.store_rejects(file, validated.rejects_path, refused=refused)


def _with_result(entry: LedgerEntry, validated: ValidatedFile, **known: Any) -> LedgerEntry:  # noqa: ANN401 - fields
    found = {
        **validated.counts.model_dump(),
        "reasons": validated.reasons,
        "first_rejects": validated.first_rejects,
        "problem": validated.refusal,
        "summary": validated.summary,
    }
    return LedgerEntry.model_validate({**dict(entry), **found, **known})


def _announce(event: str, report: LedgerEntry) -> None:
    """Emit an event that people can build automations on."""
    emit_event(
        event=event,
        resource={"prefect.resource.id": report.uri, "prefect.resource.name": report.name},
        payload=report.model_dump(mode="json"),
    )
