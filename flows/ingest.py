"""The main job: files that have landed are loaded, moved, and, after a wait, emailed about."""

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
from flows.environment import environment
from flows.loading.large_files import LargeFiles
from flows.loading.step_runs import FILES_WITH_STEPS
from flows.loading.tasks import ingest_file, publish_report
from flows.notification.wait import notify_later
from flows.report import headline, outcome, report_of_error, run_title

FILES_AT_ONCE: Final = 8
"""Files of one run that are worked on at the same time: most of that time goes into waiting for S3 and DynamoDB."""

Files = Annotated[
    list[SensorFile],
    Field(min_length=1, description="Files to load: addresses like s3://bucket/incoming/sensors.csv, or their fields."),
]
NotifyAfterSeconds = Annotated[
    float,
    Field(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds between the end of the loading and the email about it."),
]

Force = Annotated[bool, Field(description="Load files again that were loaded before, wherever they are now.")]


def _run_name() -> str:
    """The files' names, from the parameters as they came: Prefect asks for the name before it validates them."""
    objects: list[Any] = flow_run.parameters["objects"]
    return run_title([SensorFile.model_validate(each).name for each in objects])


@flow(
    name="ingest-sensor-files",
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

    Each file is claimed, validated, written and archived on its own: one that is broken, missing or slow takes none of
    the others with it. Then the email is put off as a paused subflow, which holds no process while it waits.

    The run ends `Completed`, named `PartlyRejected` if rows or files were refused, `PartlyFailed` if some file could
    not be dealt with, `AlreadyLoaded` if there was nothing left to do, and so nothing to email; `Failed` if every file
    failed.

    Raises:
        BlockMissingError: this Prefect server was never told what the environment is.
        IngestFailedError: every file is missing or failed; it carries the report.
    """
    environment()  # blocks that are missing fail the run here, at once, and not file by file
    files = list({file.uri: file for file in objects}.values())
    loads = ingest_file.map(files, unmapped(large_files), force=force, show_steps=len(files) <= FILES_WITH_STEPS)
    reports = [_report(file, load) for file, load in zip(files, loads, strict=True)]
    publish_report(reports, return_state=True)  # a page that can not be shown keeps nobody from being told
    news = [report for report in reports if not report.already_done]
    notification = notify_later(news, notify_after_seconds) if news else None
    return _final_state(IngestReport(files=reports, notification=notification))


def _report(file: SensorFile, load: PrefectFuture[FileReport]) -> FileReport:
    """What the load reports; if it ended in an error, the error as a report."""
    result = load.result(raise_on_failure=False)
    return result if isinstance(result, FileReport) else report_of_error(file, result)


def _final_state(report: IngestReport) -> State[IngestReport]:
    name, message = outcome(report.files), headline(report.files)
    if name == "Failed":
        return Failed(message=message, data=IngestFailedError(message, report))
    return Completed(name=name, message=message, data=report)
