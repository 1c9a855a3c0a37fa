import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.domain.errors import BlockInvalidError, PermissionMissingError
from blocks.domain.models import RowCounts, SensorFile
from blocks.dynamodb.errors import RowRefusedError
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import Claim
from blocks.landing_zone import LandingZone
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, load_blocks
from flows.ingest import ingest_sensor_files
from flows.loading import ingest_file, tasks
from flows.rows import ValidatedFile, ValidationSettings
from tests.flows.ingest_runs import ingest, ingest_files
from tests.support.waiting import eventually
from tests.support.world import World

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import State


def test_good_rows_are_stored_and_bad_ones_kept_with_their_reasons(world: World) -> None:
    rows = [f"0000-0001,{1483906366 + n},{n}.50" for n in range(19)]
    state, report = ingest(world.put("\n".join([*rows, "0000-0001,soon,1"]), "incoming/mixed.csv"))
    [file] = report.files

    assert state.name == "PartlyRejected"
    assert (20, 19, 0, 1) == (file.rows, file.accepted, file.replaced, file.rejected)
    assert len(world.values_of("0000-0001")) == 19
    assert world.text_at(file.rejects_at).splitlines()[1:] == ['20,"timestamp","0000-0001,soon,1"']
    assert world.keys("mixed.csv") == {"processed/mixed.csv"}


def test_a_file_over_the_reject_limit_leaves_nothing_in_the_table(world: World) -> None:
    state, report = ingest(world.put("0001-0001,1483906366,1\nnonsense\n", "incoming/half.csv"))
    [file] = report.files

    assert (state.name, file.status) == ("PartlyRejected", "refused")
    assert world.values_of("0001-0001") == []
    assert world.keys("half.csv") == {"refused/half.csv"}
    assert "nonsense" in world.text_at(file.rejects_at)


def test_of_many_rejects_the_first_are_stored_and_all_are_counted(world: World) -> None:
    _, report = ingest(world.put("nonsense\n" * 10_500, "incoming/many.csv"))
    [file] = report.files

    assert ({"field_count": 10_500}, 10_000) == (file.reasons, file.rejects_stored)
    *stored, others = world.text_at(file.rejects_at).splitlines()[1:]
    assert (10_000, '10000,"field_count","nonsense"') == (len(stored), stored[-1])
    assert others.startswith(',"not_stored","500 more rejected rows')


@contextmanager
def edited_feed(change: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """The sensor file's feed as a person edits it in the UI."""
    with get_client(sync_client=True) as client:
        [document] = client.read_block_documents_by_type("sensor-feed")
        descriptor = json.loads(json.dumps(document.data["descriptor"]))
        change(descriptor)
        save_descriptor(client, document.id, descriptor)
        try:
            yield
        finally:
            save_descriptor(client, document.id, document.data["descriptor"])


def save_descriptor(client: SyncPrefectClient, document_id: "UUID", descriptor: dict[str, Any]) -> None:
    change = {"data": {"descriptor": descriptor}, "merge_existing_data": True}
    client.request("PATCH", "/block_documents/{id}", path_params={"id": str(document_id)}, json=change)


def test_the_rules_about_rows_are_those_of_the_feeds_block(world: World) -> None:
    def relax(descriptor: dict[str, Any]) -> None:
        sensor, second, _ = descriptor["schema"]["fields"]
        sensor["constraints"]["pattern"], second["constraints"]["minimum"] = "[a-z]+", 0
        descriptor["rejectLimit"] = 0.5

    uri = world.put("attic,1,21.5\nnonsense\n", "incoming/attic.csv")
    with edited_feed(relax):
        _, report = ingest(uri)

    assert (1, 1) == (report.files[0].loaded, report.files[0].rejected)


@pytest.mark.parametrize("pattern", [r"\Qabc", "a)|(b"])
def test_a_feed_that_cannot_work_fails_the_run_and_is_held_against_no_file(world: World, pattern: str) -> None:
    uri = world.put("0001-0009,1483906366,1\n", "incoming/blameless.csv")
    with edited_feed(lambda descriptor: descriptor["schema"]["fields"][0]["constraints"].update(pattern=pattern)):
        state: State[Any] = ingest_sensor_files([SensorFile.model_validate(uri)], 0, return_state=True)

    assert isinstance(state.result(raise_on_failure=False), BlockInvalidError)
    assert "schema.fields[0].constraints.pattern: " in str(state.message)
    assert [] == load_blocks().file_ledger.entries_of(world.outputs.bucket_name, "incoming/blameless.csv")
    assert {"incoming/blameless.csv"} == world.keys("blameless.csv")


def test_a_file_that_is_named_twice_is_loaded_once(world: World) -> None:
    uri = world.put("0002-0001,1483906366,1\n", "incoming/once.csv")
    state, report = ingest(uri, uri)

    assert ("Completed", 1) == (state.name, len(report.files))


def test_an_event_that_comes_again_after_the_file_was_loaded_is_no_news(world: World) -> None:
    uri = world.put("0003-0001,1483906366,1\n", "incoming/before.csv")
    loaded = ingest(uri)[1].files[0]
    state, report = ingest(uri)

    assert state.name == "AlreadyLoaded"
    assert (1, loaded.archived_to) == (report.files[0].accepted, report.files[0].archived_to)
    assert len(world.mails_about("before.csv")) == 1


def test_a_version_that_was_loaded_and_is_still_in_incoming_is_cleared_away(world: World) -> None:
    uri = world.put("0010-0001,1483906366,1\n", "incoming/leftover.csv")
    loaded = ingest(uri)[1].files[0]
    # As if the delete had not come through: the same version is there again.
    client = world.aws.client("s3")
    [marker] = client.list_object_versions(Bucket=loaded.bucket, Prefix=loaded.key)["DeleteMarkers"]
    client.delete_object(Bucket=loaded.bucket, Key=loaded.key, VersionId=marker["VersionId"])
    assert ingest(uri)[0].name == "AlreadyLoaded"
    assert world.keys("leftover.csv") == {"processed/leftover.csv"}


def test_a_newer_version_that_is_there_by_now_is_loaded_and_the_older_one_noted_as_superseded(world: World) -> None:
    first = world.aws.client("s3").put_object(
        Bucket=world.outputs.bucket_name, Key="incoming/replaced.csv", Body=b"0011-0001,1483906366,1\n"
    )
    uri = world.put("0011-0001,1483906366,2\n", "incoming/replaced.csv")
    older = SensorFile.model_validate(uri).model_copy(update={"version_id": first["VersionId"]})
    _, report = ingest_files(older)
    assert ["superseded", "archived"] == [file.status for file in report.files]
    assert [2] == world.values_of("0011-0001")
    entries = load_blocks().file_ledger.entries_of(world.outputs.bucket_name, "incoming/replaced.csv")
    assert {first["VersionId"]: "superseded", report.files[1].version: "archived"} == {
        entry.version: entry.status for entry in entries
    }
    assert "AlreadyLoaded" == ingest_files(older)[0].name


def test_a_version_that_only_a_listing_named_and_that_was_replaced_leaves_no_entry_of_its_etag(world: World) -> None:
    """The event of that version names its id, so history would show it twice."""
    listed = SensorFile.model_validate(world.put("0025-0001,1483906366,1\n", "incoming/listed.csv"))
    etag = world.aws.client("s3").head_object(Bucket=listed.bucket, Key=listed.key)["ETag"].strip('"')
    world.put("0025-0001,1483906366,2\n", "incoming/listed.csv")
    _, report = ingest_files(listed.model_copy(update={"version_id": None, "etag": etag}))
    assert ["archived"] == [file.status for file in report.files]


def test_an_older_version_whose_event_comes_after_a_newer_one_was_loaded_is_skipped_and_said_so(world: World) -> None:
    newer = SensorFile.model_validate(world.put("0012-0001,1483906366,2\n", "incoming/late-event.csv"))
    ingest_files(newer)
    state, report = ingest_files(newer.model_copy(update={"version_id": "an-older-one"}))
    assert ("Completed", "superseded") == (state.name, report.files[0].status)
    assert "replaced it" in str(report.files[0].problem)
    assert [2] == world.values_of("0012-0001")


def test_a_file_is_loaded_again_on_purpose_from_where_it_was_archived(world: World) -> None:
    rows = ["0013-0001,1483906366,1", *(f"0013-0002,{1483906366 + n},1" for n in range(20)), "nonsense"]
    uri = world.put("\n".join(rows), "incoming/forced.csv")
    first = ingest(uri)[1].files[0]
    world.aws.client("dynamodb").delete_item(
        TableName=world.outputs.readings_table_name,
        Key={"sensor_id": {"S": "0013-0001"}, "timestamp": {"N": "1483906366"}},
    )
    assert "AlreadyLoaded" == ingest(uri)[0].name
    state, report = ingest_files(SensorFile.model_validate(uri), force=True)
    again = report.files[0]
    assert ("PartlyRejected", first.archived_to, first.rejects_at) == (state.name, again.archived_to, again.rejects_at)
    assert [1] == world.values_of("0013-0001")
    assert {"processed/forced.csv"} == world.keys("forced.csv")


def test_an_archived_file_that_its_feed_would_refuse_by_now_stays_archived_and_can_be_loaded_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0053-0001,1483906366,1\n", "incoming/refused-later.csv")
    archived_to = ingest(uri)[1].files[0].archived_to
    file = SensorFile.model_validate(uri)
    with monkeypatch.context() as patch:
        refused = ValidatedFile(RowCounts(), "refused", refusal="the header is wrong", settings=ValidationSettings())
        patch.setattr(tasks, "validate_file", lambda *_: refused)
        state, report = ingest_files(file, force=True)
    assert ("Failed", "failed") == (state.name, report.files[0].status)
    assert "its feed would refuse it now: the header is wrong" in str(report.files[0].problem)
    [entry] = load_blocks().file_ledger.entries_of(file.bucket, file.key)
    assert ("archived", archived_to) == (entry.status, entry.archived_to)
    assert [1] == world.values_of("0053-0001")
    state, report = ingest_files(file, force=True)
    assert ("Completed", "archived") == (state.name, report.files[0].status)


def test_an_archived_file_whose_further_loads_fail_too_often_stays_archived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0053-0002,1483906366,1\n", "incoming/fails-later.csv")
    archived_to, file = ingest(uri)[1].files[0].archived_to, SensorFile.model_validate(uri)
    with monkeypatch.context() as patch:
        patch.setattr(ingest_file, "is_hopeless", lambda _: True)
        _, report = ingest_files(file, force=True)
    assert ("archived", archived_to) == (report.files[0].status, report.files[0].archived_to)
    assert "further loads of it have failed" in str(report.files[0].problem)
    assert "archived" == ingest_files(file, force=True)[1].files[0].status


def test_a_file_that_fails_too_often_is_moved_to_failed_with_its_last_error_and_can_be_moved_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0014-0001,1483906366,1\n", "incoming/poison.csv")

    def poisoned(*_: object, **__: object) -> int:
        raise RowRefusedError("readings", "0014-0001,1483906366,1", "it is cursed")

    with monkeypatch.context() as patch:
        patch.setattr(ReadingsTable, "write", poisoned)
        for _ in range(FileLedger.model_fields["attempts"].default):
            assert ("failed", None) == ((failed := ingest(uri)[1].files[0]).status, failed.archived_to)
        state, report = ingest(uri)
    [file] = report.files
    assert ("Failed", "failed") == (state.name, file.status)
    assert "5 loads of it have failed" in str(file.problem)
    assert "cursed" in str(file.problem)
    assert {"failed/poison.csv"} == world.keys("poison.csv")
    assert "AlreadyLoaded" == ingest(uri)[0].name, "an event that comes again moves nothing"
    moved_back = world.put(world.text_at(file.archived_to), "incoming/poison.csv")
    assert "Completed" == ingest(moved_back)[0].name


def test_a_load_that_takes_longer_than_its_lease_keeps_the_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = world.put("0015-0001,1483906366,1\n", "incoming/slow.csv")
    ledger = load_blocks().file_ledger
    write = ReadingsTable.write

    def until_the_lease_was_renewed_twice(table: ReadingsTable, *rows: Any, **fence: Any) -> int:  # noqa: ANN401 - as `write`
        seen: set[object] = set()

        def renewals() -> bool:
            seen.add(ledger.claim_of(world.outputs.bucket_name, "incoming/slow.csv").lease_until)
            return len(seen) > 2

        eventually(renewals, 60, "two renewals of the lease")
        return write(table, *rows, **fence)

    ledger_with_short_leases = FileLedger.load(BLOCK_NAME)
    assert isinstance(ledger_with_short_leases, FileLedger)
    try:
        ledger_with_short_leases.model_copy(update={"claim_seconds": 6}).save(BLOCK_NAME, overwrite=True)
        monkeypatch.setattr(ReadingsTable, "write", until_the_lease_was_renewed_twice)
        assert "Completed" == ingest(uri)[0].name
    finally:
        ledger_with_short_leases.save(BLOCK_NAME, overwrite=True)


def test_a_version_that_comes_while_another_is_loaded_is_loaded_by_the_same_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0019-0001,1483906366,1\n", "incoming/twice.csv")
    write, puts = ReadingsTable.write, list[str]()

    def while_another_version_comes(table: ReadingsTable, *rows: Any, **fence: Any) -> int:  # noqa: ANN401 - as `write`
        if not puts:
            puts.append(world.put("0019-0001,1483906366,2\n", "incoming/twice.csv"))
            [held] = ingest(uri)[1].files
            assert (held.status, held.already_done) == ("loading", True)
        return write(table, *rows, **fence)

    monkeypatch.setattr(ReadingsTable, "write", while_another_version_comes)
    state, report = ingest(uri)
    assert state.name == "Completed"
    assert ["archived", "archived"] == [file.status for file in report.files]
    assert [2] == world.values_of("0019-0001")
    assert set() == {key for key in world.keys("twice.csv") if key.startswith("incoming/")}


def test_a_run_that_loses_its_lease_stops_writing_and_leaves_the_file_to_its_new_owner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0020-0001,1483906366,1\n", "incoming/lost.csv")
    write, lost = ReadingsTable.write, list[str]()

    def once_another_run_has_the_file(table: ReadingsTable, *rows: Any, **fence: Any) -> int:  # noqa: ANN401 - as `write`
        if not lost:
            lost.append(uri)
            world.put("0020-0001,1483906366,2\n", "incoming/lost.csv")
            with monkeypatch.context() as patch:
                patch.setattr(Claim, "is_held", lambda *_: False)  # as if the lease had expired
                assert "Completed" == ingest(uri)[0].name
            with monkeypatch.context() as patch:
                patch.setattr("flows.loading.lease.FENCE_MARGIN", 1.0)  # as if no time were left
                return write(table, *rows, **fence)
        return write(table, *rows, **fence)

    monkeypatch.setattr(ReadingsTable, "write", once_another_run_has_the_file)
    _, report = ingest(uri)
    assert [("loading", True)] == [(file.status, file.already_done) for file in report.files]
    assert [2] == world.values_of("0020-0001")
    ledger = load_blocks().file_ledger
    claim = ledger.claim_of(world.outputs.bucket_name, "incoming/lost.csv")
    assert claim.reload_at, "rows of the first version could arrive late: the second is written again"
    again: list[int] = []

    def counted(table: ReadingsTable, *rows: Any, **fence: Any) -> int:  # noqa: ANN401 - as `write`
        again.append(write(table, *rows, **fence))
        return again[-1]

    monkeypatch.setattr(ReadingsTable, "write", counted)
    eventually(lambda: ingest(uri)[0].name == "AlreadyLoaded" and again, 60, "the reload, due by the table's clock")
    assert [1] == again
    assert [2] == world.values_of("0020-0001")


def test_a_file_whose_load_failed_can_be_loaded_by_the_next_run_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0009-0001,1483906366,1\n", "incoming/second-try.csv")

    def refused(*_: object, **__: object) -> int:
        raise PermissionMissingError("dynamodb:BatchWriteItem", "table", "sensor-readings-table/sensor-ingest")

    with monkeypatch.context() as patch:
        patch.setattr(ReadingsTable, "write", refused)  # the emulator grants everything
        state, report = ingest(uri)
    assert state.name == "Failed"
    assert "dynamodb:BatchWriteItem" in str(report.files[0].problem)
    assert ingest(uri)[0].name == "Completed"
    assert world.values_of("0009-0001") == [1]


def test_new_content_under_an_old_name_is_loaded_and_overwrites_nothing(world: World) -> None:
    first = ingest(world.put("0004-0001,1483906366,1\n", "incoming/again.csv"))[1].files[0]
    second = ingest(world.put("0004-0001,1483906366,2\n", "incoming/again.csv"))[1].files[0]

    assert world.values_of("0004-0001") == [2]
    assert world.text_at(first.archived_to) == "0004-0001,1483906366,1\n"
    assert world.text_at(second.archived_to) == "0004-0001,1483906366,2\n"


def test_a_missing_permission_fails_the_file_at_once_and_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refused(_self: LandingZone, file: SensorFile) -> None:
        asked.append(file.key)
        raise PermissionMissingError("s3:GetObject", file.uri, "sensor-landing-zone/sensor-ingest")

    monkeypatch.setattr(LandingZone, "describe", refused)  # the emulator grants everything
    state, report = ingest(f"s3://{world.outputs.bucket_name}/incoming/secret.csv")

    assert ("Failed", ["incoming/secret.csv"]) == (state.name, asked)
    assert "s3:GetObject" in str(report.files[0].problem)


def test_the_email_says_what_became_of_the_file_and_the_ledger_that_it_was_sent(world: World) -> None:
    _, report = ingest(world.put("0005-0001,1483906366,1\n0005-0001,1483906366,2\n", "incoming/mailed.csv"))
    [mail] = world.mails_about("mailed.csv")

    assert mail.subject == "mailed.csv: 1 row loaded"
    assert str(report.files[0].archived_to) in mail.text
    ledger = load_blocks().file_ledger
    entries = ledger.with_emails(ledger.entries_of(world.outputs.bucket_name, "incoming/mailed.csv"))
    assert ["archived"] == [entry.status for entry in entries if entry.notified_at]


def test_without_a_deployment_the_subflow_pauses_in_its_process_and_goes_on_by_itself(world: World) -> None:
    _, report = ingest(world.put("0006-0001,1483906366,1\n", "incoming/paused.csv"), notify_after_seconds=1)
    assert report.notification is not None
    with get_client(sync_client=True) as client:
        answer = client._client.get("/flow_run_states/", params={"flow_run_id": report.notification.flow_run_id})  # noqa: SLF001
    states = [state["name"] for state in sorted(answer.json(), key=lambda state: state["timestamp"])]

    assert "Paused" in states
    assert states[-1] == "Completed"


def test_files_with_the_same_name_in_different_folders_never_meet(world: World) -> None:
    uris = [world.put(f"0007-000{n},1483906366,{n}\n", f"incoming/site-{n}/day.csv") for n in (1, 2)]
    _, report = ingest(*uris)

    assert {"processed/site-1/day.csv", "processed/site-2/day.csv"} == world.keys("day.csv")
    assert len({file.archived_to for file in report.files}) == 2


def test_a_report_is_small_enough_to_print_as_json(world: World) -> None:
    _, report = ingest(world.put("0008-0001,1483906366,1\n", "incoming/json.csv"))
    document = json.loads(report.model_dump_json())

    assert {"bucket", "key", "version", "status", "archived_to", "rejects_at", "lines", "rows"} <= set(
        document["files"][0]
    )
    assert "notification" in document


def test_a_settled_file_that_cannot_be_moved_is_reported_as_done_and_stays_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put("0024-0001,1483906366,1\n", "incoming/stuck.csv")

    def refused(_zone: LandingZone, file: SensorFile) -> bool:
        raise PermissionMissingError("s3:DeleteObject", file.uri, "sensor-landing-zone/sensor-ingest")

    monkeypatch.setattr(LandingZone, "remove", refused)
    state, report = ingest(uri)
    assert ("Completed", "archived") == (state.type.name.title(), report.files[0].status)
    assert "s3:DeleteObject" in str(report.files[0].problem), "the load itself says what is missing"
    mails = len(world.mails_about("stuck.csv"))
    state, report = ingest(uri)
    assert ("AlreadyLoaded", "archived") == (state.name, report.files[0].status)
    assert mails == len(world.mails_about("stuck.csv"))
    assert load_blocks().file_ledger.claim_of(world.outputs.bucket_name, "incoming/stuck.csv").next_try_at
