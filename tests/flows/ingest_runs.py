"""Ingest runs in this process, and what they report."""

from typing import Any

from prefect.client.schemas.objects import State

from blocks.domain.errors import IngestFailedError
from blocks.domain.models import IngestReport, SensorFile
from flows.ingest import ingest_sensor_files


def ingest(*uris: str, notify_after_seconds: float = 0) -> tuple[State[Any], IngestReport]:
    return ingest_files(*map(SensorFile.model_validate, uris), notify_after_seconds=notify_after_seconds)


def ingest_files(
    *files: SensorFile, notify_after_seconds: float = 0, force: bool = False
) -> tuple[State[Any], IngestReport]:
    state: State[Any] = ingest_sensor_files(list(files), notify_after_seconds, force, return_state=True)
    report = state.result(raise_on_failure=False)
    report = report.report if isinstance(report, IngestFailedError) else report
    assert isinstance(report, IngestReport), report
    return state, report
