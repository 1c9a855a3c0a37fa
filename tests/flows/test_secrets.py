"""A secret that a block holds is shown nowhere: planted here, looked for wherever people look."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Final

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.domain.models import SensorFile
from blocks.readings_table import ReadingsTable
from deployments.embedded.services.mailbox import mails
from flows import sweep as sweeping
from flows.ingest import ingest_sensor_files
from flows.loading.tasks import write_readings
from flows.sweep import sweep
from tests.flows.recovery.slots import Announced, SetSlots
from tests.support.waiting import eventually
from tests.support.world import PLANTED_SECRET, World

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
    monkeypatch.setattr(sweeping, "DeploymentSlots", SetSlots)  # there is no deployment to ask for its slots
    monkeypatch.setattr(sweeping, "announce", Announced())
    sweep(3600)

    shown = eventually(_pages_that_name_the_files, 60, "the server to know all that the runs told it")
    shown |= {
        "emails": repr(mails(world.aws.endpoint_url, "test")),
        "results": repr(reports) + "".join(map(str, reports)),
        "printed": printed.getvalue(),
    }
    assert all("secrets.csv" in shown[place] for place in ("printed", "emails", "results")), "or nothing was looked at"
    assert "sensor-ingest" in shown["block_documents"]
    assert [] == [place for place, text in shown.items() if PLANTED_SECRET in text]


def _pages_that_name_the_files() -> dict[str, str] | None:
    """Everything on the server, by place; none before it is there, for logs and task runs come as events."""
    with get_client(sync_client=True) as client:
        shown = {place: "".join(_pages(client, place)) for place in PLACES}
    named = all("secrets.csv" in shown[place] for place in PLACES if place != "block_documents")
    return shown if named else None


def _pages(client: SyncPrefectClient, place: str) -> Iterator[str]:
    if place == "events":
        answer = client._client.post("/events/filter", json={"filter": {}})  # noqa: SLF001 - the client knows no such question
        yield answer.text
        while following := answer.json()["next_page"]:
            answer = client._client.get(following)  # noqa: SLF001
            yield answer.text
    else:
        offset = 0
        while things := client._client.post(f"/{place}/filter", json={"offset": offset}).json():  # noqa: SLF001
            yield json.dumps(things, ensure_ascii=False)
            offset += len(things)


def _fail_as_aws_does(table: ReadingsTable, *_: object, **__: object) -> int:
    """A load that ends in the words of AWS itself."""
    table._client("dynamodb").describe_table(TableName="there-is-no-such-table")  # noqa: SLF001 - with its credentials
    raise AssertionError("there is such a table")
