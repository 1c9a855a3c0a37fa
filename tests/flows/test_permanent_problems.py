"""A file that no later load could load is settled at once, with words, and nothing takes it up again by itself."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from blocks.aws_clients import client_of
from blocks.domain.errors import IngestFailedError
from blocks.domain.models import IngestReport, LedgerEntry, SensorFile
from blocks.saved_blocks import load_blocks
from flows import sweep as sweeping
from flows.ingest import ingest_sensor_files
from flows.sweep import sweep
from tests.blocks.conftest import Line, s3_refusal
from tests.flows.loading.replaced_objects import replace_before_copy
from tests.flows.recovery.slots import Announced, SetSlots
from tests.support.world import World

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

KEY = b"k" * 32
WITH_A_KEY = {
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64encode(KEY).decode(),
    "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),  # noqa: S324 - what S3 asks for
}


def ingest(file: SensorFile, *, force: bool = False) -> tuple[str | None, IngestReport]:
    state: State[Any] = ingest_sensor_files([file], 0, force, return_state=True)
    result = state.result(raise_on_failure=False)
    report = result.report if isinstance(result, IngestFailedError) else result
    assert isinstance(report, IngestReport), report
    return state.name, report


def put(world: World, key: str, content: str, **how: str) -> SensorFile:
    """The file as its event announces it."""
    answer = world.aws.client("s3").put_object(Bucket=world.outputs.bucket_name, Key=key, Body=content.encode(), **how)
    return SensorFile(
        bucket=world.outputs.bucket_name,
        key=key,
        version_id=answer["VersionId"],
        etag=answer["ETag"].strip('"'),
        sequencer="0A",
    )


def as_swept(file: SensorFile) -> SensorFile:
    """The same file as a sweep announces it, which lists no versions."""
    return file.model_copy(update={"version_id": None, "sequencer": None})


@pytest.fixture(autouse=True)
def _slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no deployment that a sweep could ask for its slots."""
    monkeypatch.setattr(sweeping, "DeploymentSlots", SetSlots)
    monkeypatch.setattr(sweeping, "announce", Announced())


def entries(file: SensorFile) -> list[LedgerEntry]:
    return load_blocks().file_ledger.entries_of(file.bucket, file.key)


@contextmanager
def copies_refused(code: str) -> Iterator[Line]:
    """S3 refuses all copies: the emulator copies what is archived, which S3 does not."""
    line = Line(client_of(load_blocks().landing_zone.credentials, "s3"))
    with line.answering("CopyObject", *[s3_refusal(403, code)] * 20):
        yield line


def test_such_an_object_that_a_bucket_without_versions_lost_before_the_copy_is_superseded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(world, "incoming/with-a-key-replaced.csv", "0046-0001,1483906366,1\n", **WITH_A_KEY)
    replace_before_copy(world, monkeypatch, "0046-0001,1483906366,2\n")
    state, report = ingest(file)
    assert ("Completed", ["superseded", "archived"]) == (state, [each.status for each in report.files])
    assert [2] == world.values_of("0046-0001")


def test_an_archived_object_fails_at_once_and_stays_and_nothing_takes_it_up_until_it_is_replaced(world: World) -> None:
    file = put(world, "incoming/archived.csv", "0040-0001,1483906366,1\n", StorageClass="GLACIER")
    with copies_refused("ObjectNotInActiveTierError") as line:
        state, report = ingest(file)
        assert 1 == len(line.calls), "a copy that is refused for good is not tried again"
        assert ["AlreadyLoaded", "AlreadyLoaded"] == [ingest(again)[0] for again in (file, as_swept(file))]
        assert file.uri not in {each.uri for each in sweep(0).announced}
    [failed] = report.files
    assert ("Failed", "failed", None) == (state, failed.status, failed.archived_to)
    assert "in GLACIER" in str(failed.problem)
    assert "It stays in incoming/" in str(failed.problem)
    assert {"incoming/archived.csv"} == world.keys("archived.csv")
    assert 1 == len(world.mails_about("archived.csv"))
    assert [("failed", 1)] == [(entry.status, entry.attempts) for entry in entries(file)]

    replaced = put(world, "incoming/archived.csv", "0040-0001,1483906366,2\n")
    assert file.uri in {each.uri for each in sweep(0).announced}
    assert "Completed" == ingest(replaced)[0], "a new version is loaded"
    assert [2] == world.values_of("0040-0001")


def test_older_versions_of_an_object_that_stays_are_written_again_once(world: World) -> None:
    """Late rows of a version before may have come over them; the key must not stay due because its object stays."""
    ingest(put(world, "incoming/stays.csv", "0046-0001,1483906366,1\n"))
    file = put(world, "incoming/stays.csv", "0046-0001,1483906366,2\n", StorageClass="GLACIER")
    with copies_refused("ObjectNotInActiveTierError"):
        assert "Failed" == ingest(file)[0]
    ledger, long_ago = load_blocks().file_ledger, datetime(2026, 1, 1, tzinfo=UTC)
    ledger.change(file.bucket, file.key, lambda claim: claim.overtaken(0, "v0", long_ago))
    world.aws.client("dynamodb").delete_item(
        TableName=world.outputs.readings_table_name,
        Key={"sensor_id": {"S": "0046-0001"}, "timestamp": {"N": "1483906366"}},
    )
    assert "AlreadyLoaded" == ingest(file)[0]
    assert [1] == world.values_of("0046-0001")
    claim = ledger.claim_of(file.bucket, file.key)
    assert (None, None, None) == (claim.claim_id, claim.reload_at, claim.next_try_at)


def test_an_object_that_can_be_read_by_now_is_loaded_by_force(world: World) -> None:
    file = put(world, "incoming/restored.csv", "0041-0001,1483906366,1\n")
    line = Line(client_of(load_blocks().landing_zone.credentials, "s3"))
    with (
        line.answering("GetObject", s3_refusal(403, "InvalidObjectState")),
        copies_refused("InvalidObjectState"),
    ):
        assert "Failed" == ingest(file)[0]
    assert "AlreadyLoaded" == ingest(file)[0]
    assert "Completed" == ingest(as_swept(file), force=True)[0]
    assert [1] == world.values_of("0041-0001")
    assert {"processed/restored.csv"} == world.keys("restored.csv")


@pytest.mark.parametrize("first", ["event", "sweep"])
def test_an_object_with_a_key_of_its_sender_fails_at_once_and_is_emailed_about_once(world: World, first: str) -> None:
    name = f"with-a-key-{first}.csv"
    file = put(world, f"incoming/{name}", "0042-0001,1483906366,1\n", **WITH_A_KEY)
    announced = [file, as_swept(file)] if first == "event" else [as_swept(file), file]
    state, report = ingest(announced[0])
    [failed] = report.files
    assert ("Failed", "failed", None) == (state, failed.status, failed.archived_to)
    assert "SSE-C" in str(failed.problem)
    assert ["AlreadyLoaded"] * 2 == [ingest(again)[0] for again in announced[::-1]]
    assert 1 == len(world.mails_about(name))
    assert {f"incoming/{name}"} == world.keys(name)

    without = put(world, f"incoming/{name}", "0042-0002,1483906366,1\n")
    assert "Completed" == ingest(without)[0]


def test_a_key_that_is_too_long_under_processed_is_refused_before_a_row_is_written(world: World) -> None:
    key = "incoming/" + "k" * (1024 - len("incoming/") - 4) + ".csv"
    file = put(world, key, "0043-0001,1483906366,1\n")
    state, report = ingest(file)
    [failed] = report.files
    assert ("Failed", "failed") == (state, failed.status)
    assert "1 byte(s) too long" in str(failed.problem)
    assert [] == world.values_of("0043-0001")
    assert f"s3://{file.bucket}/failed/{key.removeprefix('incoming/')}" == failed.archived_to
    assert "AlreadyLoaded" == ingest(file)[0]


def test_the_longest_key_that_fits_is_loaded_with_its_rejects_and_its_next_version_too(world: World) -> None:
    key = "incoming/" + "m" * (1024 - len("processed/") - 4) + ".csv"
    rows = "".join(f"0044-0001,{1483906366 + n},1\n" for n in range(20))
    for bad in ("soon", "later"):
        state, report = ingest(put(world, key, f"{rows}0044-0001,{bad},1\n"))
        assert "PartlyRejected" == state
        assert bad in world.text_at(report.files[0].rejects_at)
        assert bad in world.text_at(report.files[0].archived_to)


def test_a_second_load_of_an_archived_file_that_cannot_be_read_leaves_it_archived(world: World) -> None:
    file = put(world, "incoming/cold.csv", "0045-0001,1483906366,1\n")
    archived = ingest(file)[1].files[0]
    line = Line(client_of(load_blocks().landing_zone.credentials, "s3"))
    with line.answering("GetObject", s3_refusal(403, "InvalidObjectState")):
        assert "Failed" == ingest(file, force=True)[0]
        assert 1 == len(line.calls)
    [entry] = entries(file)
    assert ("archived", archived.archived_to) == (entry.status, entry.archived_to)
    assert {"processed/cold.csv"} == world.keys("cold.csv")
