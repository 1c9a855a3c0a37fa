"""A secret that a block holds is shown nowhere: planted here, looked for wherever people look."""

import io
import logging
from collections.abc import Iterator
from typing import Final

import pytest
from prefect.client.orchestration import get_client

from blocks.readings_table import ReadingsTable
from deployments.embedded.mailbox import mails
from flows.ingest import ingest_sensor_files
from flows.models import SensorFile
from flows.sweep import sweep
from flows.tasks import write_readings
from tests.flows.conftest import PLANTED_SECRET, World

PLACES: Final = ["flow_runs", "task_runs", "logs", "artifacts", "events", "block_documents"]


@pytest.fixture
def printed() -> Iterator[io.StringIO]:
    """What all loggers say, debug lines of every library included."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def test_no_log_line_artifact_state_event_block_document_or_email_shows_a_secret(
    world: World, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = SensorFile.model_validate(world.put("0021-0001,1483906366,1\n", "incoming/secrets.csv"))
    failing = SensorFile.model_validate(world.put("0021-0002,1483906366,1\n", "incoming/failing-secrets.csv"))
    reports = [ingest_sensor_files([good], 0, return_state=True).result(raise_on_failure=False)]
    with monkeypatch.context() as patch:
        patch.setattr(ReadingsTable, "write", _fail_as_aws_does)
        patch.setattr(write_readings, "retries", 0)
        reports.append(ingest_sensor_files([failing], 0, return_state=True).result(raise_on_failure=False))
    sweep(3600)

    with get_client(sync_client=True) as client:
        shown = {place: client._client.post(f"/{place}/filter", json={}).text for place in PLACES}  # noqa: SLF001
    shown |= {
        "emails": repr(mails(world.aws.endpoint_url)),
        "results": repr(reports) + "".join(map(str, reports)),
        "printed": printed.getvalue(),
    }
    assert "secrets.csv" in shown["logs"] + shown["printed"], "or nothing was looked at"
    assert all("secrets.csv" in shown[place] for place in ("flow_runs", "task_runs", "artifacts", "emails", "results"))
    assert "sensor-ingest" in shown["block_documents"]
    assert [] == [place for place, text in shown.items() if PLANTED_SECRET in text]


def _fail_as_aws_does(table: ReadingsTable, *_: object) -> int:
    """A load that ends in the words of AWS itself."""
    table._client("dynamodb").describe_table(TableName="there-is-no-such-table")  # noqa: SLF001 - with its credentials
    raise AssertionError("there is such a table")
