"""What becomes of a key whose announcements, answers or reloads fail."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote_plus

import pytest
from botocore.exceptions import EndpointConnectionError
from prefect.client.schemas.objects import State  # noqa: TC002 - as the flow says

from blocks.domain.errors import ObjectReplacedError, PermissionMissingError
from blocks.domain.models import FileStatus, SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import Claim
from blocks.landing_zone import LandingZone
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import load_blocks
from flows.ingest import ingest_sensor_files
from flows.loading import ingest_file, tasks
from flows.rows import ValidatedFile, validate_file
from tests.flows.ingest_runs import ingest, ingest_files
from tests.flows.loading.replaced_objects import replace_before_copy
from tests.support.world import World

RELAY = timedelta(seconds=90)


def lost(*_: object, **__: object) -> NoReturn:
    raise EndpointConnectionError(endpoint_url="dynamodb")


def refused(*_: object, **__: object) -> NoReturn:
    raise PermissionMissingError("any:Call", "a resource", "a block")


def done_and_lost(call: Callable[..., Any]) -> Callable[..., NoReturn]:
    """The call, whose answer never comes."""

    def done(*args: object, **kwargs: object) -> NoReturn:
        call(*args, **kwargs)
        lost()

    return done


def next_look(world: World, key: str) -> timedelta | None:
    """How long from now the key is looked at again."""
    ledger = load_blocks().file_ledger
    next_try_at = ledger.claim_of(world.outputs.bucket_name, key).next_try_at
    return None if next_try_at is None else next_try_at - ledger._clock.earliest()  # noqa: SLF001 - the table's clock


def make_reload_due(world: World, key: str) -> None:
    ledger = load_blocks().file_ledger
    past = ledger._clock.earliest() - timedelta(seconds=5)  # noqa: SLF001 - the table's clock

    def with_reload(claim: Claim) -> Claim:
        return replace(
            claim, late_epoch=0, late_version="v0", late_until=past, reload_at=past, next_try_at=past, expected_by=None
        )

    ledger.change(world.outputs.bucket_name, key, with_reload)


def announced_meanwhile(world: World, key: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, before which a version is uploaded and announced once; the server loses the event."""
    file, uploaded = SensorFile(bucket=world.outputs.bucket_name, key=key), list[str]()

    def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever it returns
        if not uploaded:
            uploaded.append(world.put("0905-0001,1483906366,2\n", key))
            load_blocks().file_ledger.expect([file], RELAY)
        return call(*args, **kwargs)

    return called


# ---- Reloads --------------------------------------------------------------------------------------------------------


def test_a_reload_that_fails_again_and_again_sends_no_email_and_comes_less_and_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "incoming/reload-fails.csv"
    ingest(world.put("0901-0001,1483906366,1\n", key))

    mails = len(world.mails_about("reload-fails.csv"))
    with monkeypatch.context() as patch:
        patch.setattr(ReadingsTable, "write", refused)
        for _ in range(6):
            make_reload_due(world, key)
            _, report = ingest_files(SensorFile(bucket=world.outputs.bucket_name, key=key))
            assert [("failed", True)] == [(each.status, each.already_done) for each in report.files]
    assert mails == len(world.mails_about("reload-fails.csv"))
    pause = next_look(world, key)
    assert pause
    assert pause > timedelta(seconds=150)  # half of 10 s, doubled five times, at least

    make_reload_due(world, key)
    state, _ = ingest_files(SensorFile(bucket=world.outputs.bucket_name, key=key))
    assert state.is_completed()
    assert next_look(world, key) is None


def test_a_reload_leaves_out_a_version_that_its_feed_would_refuse_by_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "incoming/reload-refused.csv"
    for value in 1, 2:
        ingest(world.put(f"0915-000{value},1483906366,{value}\n", key))
        late_row = {"sensor_id": {"S": f"0915-000{value}"}, "timestamp": {"N": "1483906366"}, "value": {"N": "9"}}
        world.aws.client("dynamodb").put_item(TableName=world.outputs.readings_table_name, Item=late_row)

    def refused_if_first(body: BinaryIO, *more: Any) -> ValidatedFile:  # noqa: ANN401 - of the function
        validated = validate_file(body, *more)
        is_first = "0915-0001" in str(next(validated.items()))
        return replace(validated, verdict="refused", refusal="no such sensor") if is_first else validated

    make_reload_due(world, key)
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "validate_file", refused_if_first)
        state, _ = ingest_files(SensorFile(bucket=world.outputs.bucket_name, key=key))
    assert state.is_completed()
    assert [9] == world.values_of("0915-0001")
    assert [2] == world.values_of("0915-0002")
    assert next_look(world, key) is None


def test_a_reload_does_not_wait_until_a_settled_object_can_be_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "incoming/stuck-and-late-rows.csv"
    uri = world.put("0901-0002,1483906366,1\n", key)
    with monkeypatch.context() as patch:
        patch.setattr(LandingZone, "remove", refused)
        ingest(uri)
        make_reload_due(world, key)
        ingest(uri)
        assert load_blocks().file_ledger.claim_of(world.outputs.bucket_name, key).reload_at is None
        assert next_look(world, key) is not None, "it is still to be moved"
    ingest(uri)
    assert not [each for each in world.keys("stuck-and-late-rows.csv") if each.startswith("incoming/")]
    assert next_look(world, key) is None


# ---- Announcements --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["close", "clear_due"])
def test_what_is_announced_after_the_look_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    key = f"incoming/announced-before-{write}.csv"
    uri = world.put("0905-0001,1483906366,1\n", key)
    if write == "close":  # a duplicate event of a version that was archived
        ingest(uri)
    else:  # of one that was settled, and is still there
        with monkeypatch.context() as patch:
            patch.setattr(LandingZone, "remove", lambda *_: True)
            ingest(uri)
    load_blocks().file_ledger.expect([SensorFile(bucket=world.outputs.bucket_name, key=key)], RELAY)
    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, write, announced_meanwhile(world, key, getattr(FileLedger, write)))
        _, report = ingest(uri)
    assert [True, False] == [each.already_done for each in report.files]
    assert [2] == [int(value) for value in world.values_of("0905-0001")]
    assert key not in world.keys(key.removeprefix("incoming/"))


def test_what_is_announced_just_before_a_reload_is_not_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "incoming/announced-before-reload.csv"
    ingest(world.put("0905-0002,1483906366,1\n", key))
    make_reload_due(world, key)
    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "claim_reload", announced_meanwhile(world, key, FileLedger.claim_reload))
        ingest_files(SensorFile(bucket=world.outputs.bucket_name, key=key))
    assert key not in world.keys("announced-before-reload.csv")


def test_what_is_announced_just_before_a_load_from_the_archive_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "incoming/announced-before-force.csv"
    uri = world.put("0905-0003,1483906366,1\n", key)
    ingest(uri)
    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "claim_archived", announced_meanwhile(world, key, FileLedger.claim_archived))
        _, report = ingest_files(SensorFile.model_validate(uri), force=True)
    assert ["archived", "archived"] == [each.status for each in report.files]
    assert key not in world.keys("announced-before-force.csv")


def test_a_look_that_fails_after_a_load_from_the_archive_does_not_report_the_file_as_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0905-0004,1483906366,1\n", "incoming/look-after-force.csv")
    ingest(uri)
    settle = FileLedger.settle

    def settled_and_away(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
        settle(*args, **kwargs)
        monkeypatch.setattr(LandingZone, "describe", lost)

    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "settle", settled_and_away)
        state, report = ingest_files(SensorFile.model_validate(uri), force=True)
    assert ("Completed", ["archived"]) == (state.name, [each.status for each in report.files])


def test_a_refused_file_that_cannot_be_moved_is_reported_with_both_reasons(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("no rows at all\n", "incoming/refused-and-stuck.csv")
    with monkeypatch.context() as patch:
        patch.setattr(LandingZone, "remove", refused)
        _, report = ingest(uri)
    [file] = report.files
    assert "refused" == file.status
    assert [] == [each for each in ("1 of 1", "could not be moved") if each not in str(file.problem)], file.problem


# ---- Lost answers ---------------------------------------------------------------------------------------------------


def test_a_version_that_was_settled_although_no_answer_said_so_is_reported_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0903-0001,1483906366,1\n", "incoming/settled-lost.csv")
    with monkeypatch.context() as patch:
        patch.setattr(tasks.archive_file, "retries", 0)
        patch.setattr(FileLedger, "settle", done_and_lost(FileLedger.settle))
        patch.setattr(FileLedger, "release", lost)
        _, report = ingest(uri)
    assert ["archived"] == [each.status for each in report.files]
    [mail] = world.mails_about("settled-lost.csv")
    assert "1 row loaded" in mail.text


def test_a_version_that_was_replaced_although_no_answer_said_so_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.aws.client("s3").put_object(
        Bucket=world.outputs.bucket_name, Key="incoming/replaced-lost.csv", Body=b"0904-0001,1483906366,1\n"
    )
    newer = SensorFile.model_validate(world.put("0904-0001,1483906366,2\n", "incoming/replaced-lost.csv"))
    older = newer.model_copy(update={"version_id": first["VersionId"]})
    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "claim", done_and_lost(FileLedger.claim))
        _, report = ingest_files(older)
    assert ["failed", "superseded"] == [each.status for each in report.files]
    [mail] = world.mails_about("replaced-lost.csv")
    assert "replaced it before it was loaded" in mail.text


def test_while_it_is_not_known_what_was_settled_no_email_is_made_that_could_be_wrong(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SensorFile.model_validate(world.put("0906-0001,1483906366,1\n", "incoming/not-known.csv"))
    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "claim", done_and_lost(FileLedger.claim))
        patch.setattr(FileLedger, "settled_for", lost)
        state: State[Any] = ingest_sensor_files([file], 0, return_state=True)
    assert state.is_failed()
    entry = load_blocks().file_ledger.entry(file)
    assert entry
    assert "collecting" == load_blocks().file_ledger.email(str(entry.email_id)).state, "another process makes it"
    assert not world.mails_about("not-known.csv")


def test_what_many_versions_became_is_reported_although_the_claim_cannot_be_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "incoming/many.csv"
    uri = world.put("0902-0001,1483906366,1\n", key)
    write, puts = ReadingsTable.write, list[str]()

    def meanwhile(table: ReadingsTable, *rows: Any, **fence: Any) -> int:  # noqa: ANN401 - passed on
        if not puts:
            puts.append(world.put("0902-0001,1483906366,2\n", key))
            ingest(uri)
        return write(table, *rows, **fence)

    monkeypatch.setattr(ingest_file, "VERSIONS_PER_RUN", 1)
    monkeypatch.setattr(ReadingsTable, "write", meanwhile)
    monkeypatch.setattr(FileLedger, "hand_over", lost)
    _, report = ingest(uri)
    assert ["archived"] == [each.status for each in report.files]


# ---- Encoded keys ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_announced_again_under_its_encoded_key_is_no_news(world: World) -> None:
    uri = world.put("0907-0001,1483906366,1\n", "incoming/é 1+1.csv")
    encoded = SensorFile(bucket=world.outputs.bucket_name, key=quote_plus("incoming/é 1+1.csv", safe="/"))
    _, report = ingest_files(encoded)
    assert [("archived", False)] == [(each.status, each.already_done) for each in report.files]
    state, report = ingest_files(encoded)
    assert ("AlreadyLoaded", "incoming/é 1+1.csv") == (state.name, report.files[0].key)
    assert 1 == len(world.mails_about(uri.rpartition("/")[2]))


def test_the_email_of_a_run_that_died_finds_what_was_announced_under_an_encoded_key(world: World) -> None:
    key = "incoming/é 2+2.csv"
    ledger = load_blocks().file_ledger
    encoded = SensorFile(bucket=world.outputs.bucket_name, key=quote_plus(key, safe="/"))
    claimed = ledger.collect("died", [encoded], 0, "dead-run")
    world.put("0907-0002,1483906366,1\n", key)
    found = load_blocks().landing_zone.describe(encoded.model_copy(update={"key": key}))
    assert found
    owned: Any = ledger.claim(found, "c", "dead-run", email_id="died")
    ledger.settle(owned.held, owned.entry.model_copy(update={"status": "archived", "archived_to": "s3://b/k"}))
    assert [key] == [entry.key for entry in ledger.reports_of(claimed.email)]


# ---- Versions that reports name --------------------------------------------------------------------------------------


def older_and_newer(world: World, key: str, sensor: str) -> tuple[SensorFile, SensorFile]:
    first = world.aws.client("s3").put_object(
        Bucket=world.outputs.bucket_name, Key=key, Body=f"{sensor},1483906366,1\n".encode()
    )
    newer = SensorFile.model_validate(world.put(f"{sensor},1483906366,2\n", key))
    found = world.aws.client("s3").head_object(Bucket=world.outputs.bucket_name, Key=key)
    newer = newer.model_copy(update={"version_id": found["VersionId"]})
    return newer.model_copy(update={"version_id": first["VersionId"]}), newer


def test_a_version_that_a_bucket_without_versions_lost_before_the_copy_is_superseded_and_the_newer_one_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "incoming/replaced-before-copy.csv"
    older = SensorFile.model_validate(world.put("0913-0001,1483906366,1\n", key))
    replace_before_copy(world, monkeypatch, "0913-0001,1483906366,2\n")
    state, report = ingest_files(older)
    assert ("Completed", ["superseded", "archived"]) == (state.name, [each.status for each in report.files])
    assert [2] == world.values_of("0913-0001")


def test_a_version_that_is_deleted_before_the_copy_is_missing_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, copy = "incoming/deleted-before-copy.csv", LandingZone.store_copy
    file = SensorFile.model_validate(world.put("0918-0001,1483906366,1\n", key))

    def deleted(zone: LandingZone, found: SensorFile, status: FileStatus) -> str:
        world.aws.client("s3").delete_object(Bucket=found.bucket, Key=found.key)
        return copy(zone, found.without_version_id(), status)

    monkeypatch.setattr(LandingZone, "store_copy", deleted)
    _, report = ingest_files(file)
    assert [(key, "missing")] == [(each.key, each.status) for each in report.files]


def test_rows_of_such_a_version_that_had_no_answer_are_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, write = "incoming/replaced-unanswered.csv", ReadingsTable.write

    def unanswered(table: ReadingsTable, *args: Any, on_unanswered: Callable[[], None], **more: Any) -> int:  # noqa: ANN401 - the method's own
        on_unanswered()
        return write(table, *args, on_unanswered=on_unanswered, **more)

    older = load_blocks().landing_zone.describe(SensorFile.model_validate(world.put("0914-0001,1483906366,1\n", key)))
    assert older is not None
    with monkeypatch.context() as patch:
        patch.setattr(ReadingsTable, "write", unanswered)
        replace_before_copy(world, patch, "0914-0001,1483906366,2\n")
        ingest_files(older)
    assert older.version == load_blocks().file_ledger.claim_of(older.bucket, key).late_version
    assert "Completed" == ingest_files(older, force=True)[0].name
    assert [2] == world.values_of("0914-0001")
    assert load_blocks().file_ledger.claim_of(older.bucket, key).reload_at is not None


def test_a_settled_version_whose_object_is_replaced_before_it_is_removed_is_reported_as_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SensorFile.model_validate(world.put("0917-0001,1483906366,1\n", "incoming/settled-then-replaced.csv"))
    copy, copies = LandingZone.store_copy, list[str]()

    def copied_once(zone: LandingZone, found: SensorFile, status: FileStatus) -> str:
        copies.append(found.uri)
        if len(copies) > 1:
            raise ObjectReplacedError(found.uri, found.version)
        return copy(zone, found, status)

    with monkeypatch.context() as patch:
        patch.setattr(tasks.archive_file, "retry_delay_seconds", 0)
        patch.setattr(LandingZone, "store_copy", copied_once)
        patch.setattr(LandingZone, "remove", lost)
        _, report = ingest_files(file)
    assert 2 == len(copies)
    [settled] = report.files
    assert ("archived", True) == (settled.status, "could not be moved" in str(settled.problem))


def test_the_report_of_a_failed_load_names_the_version_that_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = older_and_newer(world, "incoming/announced-old-fails.csv", "0911-0001")
    with monkeypatch.context() as patch:
        patch.setattr(tasks.write_readings, "retries", 0)
        patch.setattr(ReadingsTable, "write", lost)
        _, report = ingest_files(older)
    assert {(older.version_id, "superseded"), (newer.version_id, "failed")} == {
        (each.version, each.status) for each in report.files
    }


def test_a_version_whose_settling_had_no_answer_is_not_reported_as_failed_besides(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = older_and_newer(world, "incoming/announced-old-settled-lost.csv", "0911-0002")
    with monkeypatch.context() as patch:
        patch.setattr(tasks.archive_file, "retries", 0)
        patch.setattr(FileLedger, "settle", done_and_lost(FileLedger.settle))
        patch.setattr(FileLedger, "release", lost)
        _, report = ingest_files(older)
    assert {(older.version_id, "superseded"), (newer.version_id, "archived")} == {
        (each.version, each.status) for each in report.files
    }
