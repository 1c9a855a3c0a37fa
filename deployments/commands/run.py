"""`sensor-ingest run`."""

from typing import Annotated, Any

import typer

from deployments.commands.options import AsJson, DataDir, NotifyAfter
from deployments.commands.stack_selection import use_stack


def run(
    files: Annotated[
        list[str], typer.Argument(metavar="ADDRESS", help="Addresses like s3://bucket/incoming/sensors.csv.")
    ],
    *,
    notify_after: NotifyAfter = 600,
    force: Annotated[bool, typer.Option("--force", help="Load files again that were loaded before.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Load files in this process, without a worker, and send the email. Exit code 1: a file or the email failed."""
    use_stack(data_dir)
    from blocks.domain.errors import IngestFailedError
    from blocks.domain.models import SensorFile
    from blocks.domain.s3_keys import parse_s3_uri, s3_uri
    from flows.ingest import ingest_sensor_files
    from flows.notification.email import email_text

    try:
        objects = [SensorFile.model_validate(s3_uri(*parse_s3_uri(file))) for file in files]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; `sensor-ingest put` uploads a file of this machine") from error
    state = ingest_sensor_files(objects, notify_after, force, return_state=True)
    result: Any = state.result(raise_on_failure=False)
    report = result.report if isinstance(result, IngestFailedError) else result
    if isinstance(report, Exception):
        raise report
    typer.echo(report.model_dump_json(indent=2) if as_json else email_text(report.files))
    notified = report.notification is None or report.notification.state == "Completed"
    raise typer.Exit(0 if state.is_completed() and notified else 1)
