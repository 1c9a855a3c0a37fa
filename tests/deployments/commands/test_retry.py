"""The command `retry`: failed and refused files go back, and are loaded as new versions."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from httpx import ConnectError
from prefect.client.orchestration import get_client
from typer.testing import CliRunner

from blocks.aws_clients import client_of
from blocks.domain.errors import IngestFailedError
from blocks.domain.models import FileReport, IngestReport, SensorFile
from blocks.domain.names import INGEST_FLOW
from blocks.saved_blocks import load_blocks
from deployments.cli import app
from deployments.commands.retry import moves
from deployments.commands.retry.moves import Retry, RetryResult
from flows.ingest import ingest_sensor_files
from tests.blocks.conftest import Line, s3_refusal
from tests.support.world import World

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def retry(*words: str, code: int = 0) -> Any:  # noqa: ANN401 - a JSON document
    result = CliRunner().invoke(app, ["retry", *words, "--json"], catch_exceptions=False)
    assert code == result.exit_code, result.output
    return json.loads(result.stdout)


def ingest(uri: str) -> FileReport:
    state: State[Any] = ingest_sensor_files([SensorFile.model_validate(uri)], 0, return_state=True)
    result = state.result(raise_on_failure=False)
    report = result.report if isinstance(result, IngestFailedError) else result
    assert isinstance(report, IngestReport), report
    return report.files[0]


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """The bucket, with nothing in it but what the test puts there."""
    client, bucket = world.aws.client("s3"), world.outputs.bucket_name

    def clear() -> None:
        for each in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=each["Key"])

    clear()
    yield f"s3://{bucket}"
    clear()


def refuse(world: World, name: str) -> str:
    """The address under refused/ of a file that was refused."""
    refused = ingest(world.put("nonsense\n", f"incoming/{name}"))
    assert "refused" == refused.status
    return str(refused.archived_to)


def test_without_files_or_a_choice_the_command_says_what_it_wants(world: World) -> None:
    for words in ([], ["s3://bucket/failed/a.csv", "--failed"], ["--since", "never"], ["failed/a.csv"]):
        result = CliRunner().invoke(app, ["retry", *words])
        assert 2 == result.exit_code, words
    said = CliRunner().invoke(app, ["retry"]).output
    assert "--failed" in said
    assert "--refused" in said
    assert world


def test_refused_files_go_back_without_their_rejects_and_are_loaded_as_new_versions(world: World, address: str) -> None:
    refused = refuse(world, "2026/site.csv")
    zone = load_blocks().landing_zone
    assert {"moved": [], "started": [], "left": []} == retry("--failed")
    assert {"moved": [], "started": [], "left": []} == retry("--refused", "--since", "2999-01-01")
    done = retry("--refused", "--since", "1h")
    landed = f"{address}/incoming/2026/site.csv"
    assert {"moved": [{"from": refused, "to": landed}], "started": [], "left": []} == done
    assert {"incoming/2026/site.csv", "refused/2026/site.csv.rejects.csv"} == world.keys(".csv")
    again = ingest(landed)
    assert ("refused", refused, False) == (again.status, again.archived_to, again.already_done)
    assert zone.refused_prefix in refused


def test_a_second_file_of_that_name_goes_back_under_the_name_that_it_landed_with(world: World, address: str) -> None:
    first = refuse(world, "twice.csv")
    second = ingest(world.put("other nonsense\n", "incoming/twice.csv")).archived_to
    assert f"{address}/refused/twice.csv" == first
    landed = f"{address}/incoming/twice.csv"
    assert [{"from": second, "to": landed}] == retry(str(second))["moved"]
    assert "other nonsense\n" == world.text_at(landed)
    [left] = retry("--refused", code=1)["left"]
    assert first == left["file"]
    assert "is not overwritten" in left["problem"]
    assert "nonsense\n" == world.text_at(first)


def test_the_address_that_a_file_landed_under_finds_it(world: World, address: str) -> None:
    refused = refuse(world, "landed.csv")
    landed = f"{address}/incoming/landed.csv"
    assert [{"from": refused, "to": landed}] == retry(landed)["moved"]


def test_files_without_an_entry_go_back_too(world: World, address: str) -> None:
    world.put("0050-0001,1483906366,1\n", "failed/by-hand.csv")
    world.put("0050-0001,1483906366,1\n", "failed/found.csv")
    assert [f"{address}/incoming/found.csv"] == [each["to"] for each in retry(f"{address}/incoming/found.csv")["moved"]]
    printed = CliRunner().invoke(app, ["retry", "--failed", "--refused"], catch_exceptions=False)
    assert f"moved to {address}/incoming/by-hand.csv, from {address}/failed/by-hand.csv\n" == printed.stdout


def test_what_cannot_be_put_back_is_left_with_the_reason_and_the_rest_is_moved(world: World, address: str) -> None:
    refused = refuse(world, "rest.csv")
    world.put("0050-0001,1483906366,1\n", "incoming/waiting.csv")
    done = retry(
        "s3://another-bucket/failed/a.csv",
        f"{address}/processed/a.csv",
        f"{address}/failed/never.csv",
        f"{address}/incoming/never.csv",
        f"{address}/incoming/waiting.csv",
        f"{refused}.rejects.csv",
        refused,
        code=1,
    )
    reasons = (
        "not in the bucket",
        "run --force",
        "does not exist",
        "no such file",
        "waits in incoming/",
        "rejected rows",
    )
    assert len(reasons) == len(done["left"])
    assert [] == [reason for reason, left in zip(reasons, done["left"], strict=True) if reason not in left["problem"]]
    assert [refused] == [each["from"] for each in done["moved"]]


@pytest.fixture
def deployment(world: World) -> Iterator[str]:
    """The id of a deployment whose runs no worker starts."""
    assert world
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name(INGEST_FLOW)
        deployment_id = client.create_deployment(flow_id, INGEST_FLOW, parameters={"notify_after_seconds": 600})
        yield str(deployment_id)
        client.delete_deployment(deployment_id)


def fail_for_good(world: World, name: str) -> str:
    """The address of a file that has failed and stays in `incoming/`."""
    uri = world.put("0051-0001,1483906366,1\n", f"incoming/{name}")
    line = Line(client_of(load_blocks().landing_zone.credentials, "s3"))
    no = s3_refusal(403, "InvalidObjectState")
    with line.answering("GetObject", no), line.answering("CopyObject", no):
        assert ("failed", None) == ((failed := ingest(uri)).status, failed.archived_to)
    return uri


def test_a_file_that_failed_in_incoming_gets_a_run_that_loads_it_once_it_can_be_read(
    world: World, address: str, deployment: str
) -> None:
    uri = fail_for_good(world, "stays.csv")
    line = Line(client_of(load_blocks().landing_zone.credentials, "s3"))
    with line.answering("GetObject", s3_refusal(403, "InvalidObjectState")):
        [left] = retry(uri, code=1)["left"]
    assert "Restore it" in left["problem"]

    [started] = retry(uri)["started"]
    with get_client(sync_client=True) as client:
        [run] = [run for run in client.read_flow_runs() if run.name == started["flow_run_name"]]
    assert deployment == str(run.deployment_id)
    assert 600 == run.parameters["notify_after_seconds"]
    objects = [SensorFile.model_validate(each) for each in run.parameters["objects"]]
    ingest_sensor_files(objects, 0, run.parameters["force"], return_state=True)
    assert {"processed/stays.csv"} == world.keys("stays.csv")
    assert address in uri


def test_without_a_deployment_a_file_in_incoming_is_left_with_the_remedy(world: World, address: str) -> None:
    uri = fail_for_good(world, "no-deployment.csv")
    [left] = retry(uri, code=1)["left"]
    assert "sensor-ingest deploy" in left["problem"]
    assert address in uri


# ---- A connection that breaks ----------------------------------------------------------------------------------------


FILES = [SensorFile(bucket="landing", key=f"failed/{name}.csv") for name in "abc"]


class BrokenConnection(Retry):
    """The second file meets a broken connection."""

    def __init__(self) -> None:
        self._done = RetryResult()
        self._failed_in_incoming = []

    def _put_back(self, file: SensorFile) -> None:
        if file is FILES[1]:
            raise EndpointConnectionError(endpoint_url="s3")
        self._done.moved.append((file.uri, "incoming"))


def test_the_files_beside_a_broken_connection_are_moved_and_reported() -> None:
    done = BrokenConnection().put_back(FILES)
    assert [FILES[0].uri, FILES[2].uri] == [source for source, _ in done.moved]
    assert [FILES[1].uri] == [uri for uri, _ in done.left]


def test_what_was_moved_is_reported_although_the_prefect_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_files: object) -> str:
        raise ConnectError("Connection refused")

    monkeypatch.setattr(moves, "_start_run", away)
    work = BrokenConnection()
    work._failed_in_incoming = [FILES[2]]  # type: ignore[list-item]  # noqa: SLF001
    done = work.put_back(FILES[:1])
    assert [FILES[0].uri] == [source for source, _ in done.moved]
    assert [FILES[2].uri] == [uri for uri, _ in done.left]
