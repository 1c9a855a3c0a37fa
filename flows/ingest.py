"""The main job: load the files that have landed, move them, and after a wait email about them."""

from queue import SimpleQueue
from typing import Annotated, Any, Final

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from blocks.domain.errors import IngestFailedError
from blocks.domain.limits import LONGEST_WAIT_SECONDS
from blocks.domain.models import FileReport, IngestReport, SensorFile
from blocks.domain.names import INGEST_FLOW
from blocks.file_ledger.claiming import CurrentEmail
from blocks.saved_blocks import run_blocks
from flows.loading.ingest_file import ingest_file, ingest_files
from flows.loading.large_files import LargeFiles
from flows.loading.step_runs import FILES_WITH_STEPS
from flows.loading.tasks import publish_report
from flows.notification.collecting import email_collected
from flows.notification.wait import notify_later
from flows.notify import notify
from flows.report import final_state_name, headline, ingest_run_name, report_of_error

FILES_AT_ONCE: Final = 8
"""Files of one run that are loaded at the same time: most of a load is waiting for S3 and DynamoDB."""

Files = Annotated[
    list[SensorFile],
    Field(min_length=1, description="Files to load: addresses like s3://bucket/incoming/sensors.csv, or their fields."),
]
NotifyAfterSeconds = Annotated[
    float,
    Field(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds between the end of the loading and the email about it."),
]

Force = Annotated[bool, Field(description="Load files again that were loaded before, from where they are now.")]


def _run_name() -> str:
    """The files' names, from the raw parameters: Prefect asks for the name before it validates them."""
    objects: list[Any] = flow_run.parameters["objects"]
    return ingest_run_name([SensorFile.model_validate(each).name for each in objects])


@flow(
    name=INGEST_FLOW,
    description="Load CSV files of sensor readings into DynamoDB, archive them, and email about them after a wait.",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=FILES_AT_ONCE),  # type: ignore[arg-type] # its results are of any type
)
def ingest_sensor_files(
    objects: Files,
    notify_after_seconds: NotifyAfterSeconds = 600,
    force: Force = False,  # noqa: FBT002 - Prefect calls flows with keywords
    large_files: LargeFiles = LargeFiles(),  # noqa: B008 - it is frozen
) -> State[IngestReport]:
    """What became of each file, and the run that will email about them.

    Each file is claimed, validated, written and archived on its own: a broken, missing or slow file does not affect the
    others. The email then waits as a paused subflow, which holds no process.

    The final state is `Completed`. Its name is `PartlyRejected` if rows were rejected or files refused, `PartlyFailed`
    if some file failed, `AlreadyLoaded` if other runs have loaded every file, or hold it. It is `Failed` if every file
    failed.

    Raises:
        BlockInvalidError: a saved block has an invalid field.
        BlockMissingError: a block is not saved on this Prefect server.
        IngestFailedError: every file is missing or failed; it carries the report.
    """
    run_blocks().feeds  # noqa: B018 - a missing or invalid block fails the run here, once, and not file by file
    files = list({file.uri: file for file in objects}.values())  # each key once: its current version is loaded
    with email_collected(files, notify_after_seconds) as email:
        reports = email.completed(_ingested(files, large_files, email, force=force))
        publish_report(reports, return_state=True)  # if it fails, the email is sent all the same
        news = [report for report in reports if not report.already_done]
        notification = notify_later(news, notify_after_seconds, notify, email)
    return _final_state(IngestReport(files=reports, notification=notification))


def _ingested(
    files: list[SensorFile], large_files: LargeFiles, email: CurrentEmail, *, force: bool
) -> list[FileReport]:
    """What became of each key. A task run has one of them, or, in a run of many, those that it takes off a queue."""
    if len(files) <= FILES_WITH_STEPS:
        loads = ingest_file.map(files, unmapped(large_files), unmapped(email), force=force)
        return [report for file, load in zip(files, loads, strict=True) for report in _reports(file, load)]
    waiting = SimpleQueue[SensorFile]()
    for file in files:
        waiting.put(file)
    threads = range(1, FILES_AT_ONCE + 1)
    shares = ingest_files.map(threads, unmapped(waiting), unmapped(large_files), unmapped(email), force=force)
    return [report for share in shares.result() for report in share]


def _reports(file: SensorFile, load: PrefectFuture[list[FileReport]]) -> list[FileReport]:
    """The reports of the key's versions; for a load that raised, a report of the error."""
    result = load.result(raise_on_failure=False)
    return result if isinstance(result, list) else [report_of_error(file, result)]


def _final_state(report: IngestReport) -> State[IngestReport]:
    name, message = final_state_name(report.files), headline(report.files)
    if name == "Failed":
        return Failed(message=message, data=IngestFailedError(message, report))
    return Completed(name=name, message=message, data=report)
