"""One sweep takes up whatever was left behind, and leaves alone what somebody is at."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flows.recovery.runs import active_runs
from flows.recovery.snapshot import ActiveRun
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Paused, Pending, Running

from blocks.domain.errors import PermissionMissingError
from blocks.domain.models import FileReport, LedgerEntry, SensorFile, StoredFile, SweepReport
from blocks.landing_zone import LandingZone
from blocks.saved_blocks import load_blocks
from flows import sweep as sweeping
from flows.ingest import ingest_sensor_files
from flows.notification.wait import wait_tag
from flows.notify import notify
from flows.recovery import retry_decisions
from flows.sweep import sweep
from tests.support.world import World

ROW = "0000-0001,1483906366,1"

NOBODY = "00000000-0000-4000-8000-000000000000"
"""A flow run that no server knows."""

announced: list[str] = []


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is announced is noted here: no deployment is there that an event would start."""
    announced.clear()
    monkeypatch.setattr(
        sweeping, "announce", lambda files, _prefix, occasion: announced.append(f"{[f.key for f in files]} {occasion}")
    )
    yield
    announced.clear()


def swept(older_than_seconds: float = 0, **asked: float) -> SweepReport:
    report = sweep(older_than_seconds, **asked)
    assert isinstance(report, SweepReport)
    return report


def claimed(uri: str, run_id: str = NOBODY) -> LedgerEntry:
    blocks = load_blocks()
    found = blocks.landing_zone.describe(SensorFile.model_validate(uri))
    assert found is not None
    return blocks.file_ledger.claim(found, run_id)


def run_of_another_process(state: State[Any], files: list[LedgerEntry], *tags: str) -> str:
    """The id of a notify run that this server knows, and that nobody in this process runs."""
    with get_client(sync_client=True) as client:
        parameters = {"files": [file.model_dump(mode="json") for file in files]}
        return str(client.create_flow_run(notify, parameters=parameters, state=state, tags=tags).id)


def state_of(run_id: str) -> str:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(run_id)).state
    assert state is not None
    return str(state.name)


def the_entry(world: World, key: str) -> LedgerEntry:
    [entry] = load_blocks().file_ledger.entries_of(world.outputs.bucket_name, key)
    return entry


# ---- Files ---------------------------------------------------------------------------------------------------------


def test_files_that_have_waited_too_long_are_announced_but_for_folders_and_other_prefixes(world: World) -> None:
    stranded = world.put(f"{ROW}\n", "incoming/stranded é+1.csv")
    world.put("", "incoming/folder/")
    world.put(f"{ROW}\n", "processed/done.csv")
    found = [file.uri for file in swept().announced if "stranded" in file.uri or "done" in file.uri]
    assert [stranded] == found
    assert any("incoming/stranded é+1.csv" in said for said in announced)


def test_files_that_have_just_arrived_are_left_to_their_events(world: World) -> None:
    world.put(f"{ROW}\n", "incoming/fresh.csv")
    assert [] == [file.key for file in swept(3600).announced]


@pytest.mark.parametrize("holder", [NOBODY, "what is no run's id"])
def test_files_that_a_run_holds_are_left_to_it(world: World, holder: str) -> None:
    uri = world.put(f"{ROW}\n", f"incoming/in-hand-of-{len(holder)}.csv")
    entry = claimed(uri, holder)
    assert uri not in [file.uri for file in swept().announced]
    load_blocks().file_ledger.release(entry, "it could not be loaded")
    assert uri in [file.uri for file in swept().announced]


def test_a_file_of_which_two_loads_have_failed_is_announced_alone(world: World) -> None:
    world.put(f"{ROW}\n", "incoming/in-company.csv")
    uri = world.put(f"{ROW}\n", "incoming/suspect.csv")
    for _ in range(2):
        load_blocks().file_ledger.release(claimed(uri), "it could not be loaded")
    swept()
    assert any(said.startswith("['incoming/suspect.csv'] ") for said in announced)


def test_files_that_a_dead_run_holds_are_freed_and_announced(world: World) -> None:
    uri = world.put(f"{ROW}\n", "incoming/held-by-the-dead.csv")
    claimed(uri, run_of_another_process(Completed(), []))
    assert uri in [file.uri for file in swept().announced]
    assert "loading" == claimed(uri, str(uuid4())).status


def test_a_file_that_somebody_took_away_while_it_was_loaded_is_noted_as_missing(world: World) -> None:
    entry = claimed(world.put(f"{ROW}\n", "incoming/taken-away.csv"))
    load_blocks().file_ledger.release(entry)
    world.aws.client("s3").delete_object(Bucket=entry.bucket, Key=entry.key)
    swept()
    assert "missing" == the_entry(world, entry.key).status


def test_a_file_that_may_not_be_looked_at_keeps_nothing_else_from_being_taken_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = claimed(world.put(f"{ROW}\n", "incoming/forbidden.csv"))
    load_blocks().file_ledger.release(entry)
    stranded = world.put(f"{ROW}\n", "incoming/beside-it.csv")
    describe = LandingZone.describe

    def refuses(zone: LandingZone, file: SensorFile) -> StoredFile | None:
        if file.uri == entry.uri:
            raise PermissionMissingError("s3:GetObject", file.uri, "sensor-landing-zone/sensor-ingest")
        return describe(zone, file)

    monkeypatch.setattr(LandingZone, "describe", refuses)
    assert stranded in [file.uri for file in swept().announced]
    assert "loading" == the_entry(world, entry.key).status


def loaded(uri: str, *, force: bool = False) -> FileReport:
    state: State[Any] = ingest_sensor_files([SensorFile.model_validate(uri)], 0, force=force, return_state=True)
    result: Any = state.result()
    report: FileReport = result.files[0]
    return report


def test_an_archived_file_whose_second_load_died_is_archived_still_and_can_be_loaded_again(world: World) -> None:
    first = loaded(world.put(f"{ROW}\n", "incoming/twice.csv"))
    before = the_entry(world, first.key)
    ledger = load_blocks().file_ledger
    ledger.release(ledger.claim_again(before, NOBODY), "its process died")
    once_more = loaded(first.uri, force=True)
    assert ("archived", first.archived_to) == (once_more.status, once_more.archived_to)
    ledger.release(ledger.claim_again(the_entry(world, first.key), NOBODY), "its process died")
    swept()
    after = the_entry(world, first.key)
    assert ("archived", before.archived_to, 1) == (after.status, after.archived_to, after.accepted)
    assert "its process died" in str(after.problem)


def test_a_scheduled_sweep_leaves_all_to_one_that_began_before_and_a_persons_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put(f"{ROW}\n", "incoming/in-another-sweep.csv")

    def of_a_schedule(client: SyncPrefectClient, flow_name: str) -> list[ActiveRun]:
        return [replace(run, scheduled=True) for run in active_runs(client, flow_name)]

    with get_client(sync_client=True) as client:
        older = client.create_flow_run(sweep, name="older", state=Running())
        assert uri in [file.uri for file in swept().announced]
        monkeypatch.setattr(sweeping, "active_runs", of_a_schedule)
        left = swept()
        assert ("older", []) == (left.left_to, left.announced)
        client.set_flow_run_state(older.id, Completed(), force=True)
    assert uri in [file.uri for file in swept().announced]


# ---- Emails --------------------------------------------------------------------------------------------------------


def settled(world: World, name: str) -> LedgerEntry:
    entry = claimed(world.put(f"{ROW}\n", f"incoming/{name}"))
    done = entry.model_copy(
        update={"status": "archived", "finished_at": entry.claimed_at - timedelta(hours=1), "lease_until": None}
    )
    load_blocks().file_ledger.record(done)
    world.aws.client("s3").delete_object(Bucket=entry.bucket, Key=entry.key)
    return done


def test_people_are_told_once_of_a_file_that_no_email_was_about(world: World) -> None:
    settled(world, "untold.csv")
    assert swept(60).notification is not None
    assert swept(60).notification is None
    assert 1 == len(world.mails_about("untold.csv"))
    assert the_entry(world, "incoming/untold.csv").notified_at is not None


def test_a_file_that_an_email_to_come_is_about_is_left_to_it(world: World) -> None:
    run_id = run_of_another_process(Paused(timeout_seconds=3600), [settled(world, "to-be-told.csv")])
    swept(60)
    assert [] == world.mails_about("to-be-told.csv")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run_id), Completed(), force=True)
    swept(60)
    assert 1 == len(world.mails_about("to-be-told.csv"))


def test_an_email_that_nothing_resumed_is_resumed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_decisions, "RESUME_GRACE", timedelta(0))
    overdue = run_of_another_process(Paused(timeout_seconds=3600), [settled(world, "overdue.csv")], wait_tag(0.001))
    waiting = run_of_another_process(Paused(timeout_seconds=3600), [], wait_tag(600))
    assert 1 == len(swept(60).resumed)
    assert "Paused" == state_of(waiting)
    assert "Paused" != state_of(overdue)


def test_an_email_whose_process_died_while_it_paused_is_resumed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_decisions, "RESUME_GRACE", timedelta(0))
    files = [settled(world, "paused-in-its-process.csv")]
    overdue, waiting, by_hand = (paused_in_a_process_that_died(files, seconds) for seconds in (0.001, 600, 0))
    assert 1 == len(swept(60).resumed)
    assert ("Running", "Paused", "Paused") == (state_of(overdue), state_of(waiting), state_of(by_hand))


@pytest.mark.usefixtures("world")
def test_a_run_with_a_wait_out_of_range_does_not_fail_the_sweep() -> None:
    by_tag = run_of_another_process(Paused(timeout_seconds=3600), [], "notify-after-1e300s")
    by_parameter = paused_in_a_process_that_died([], 1e300)
    swept()
    assert ("Paused", "Paused") == (state_of(by_tag), state_of(by_parameter))


def paused_in_a_process_that_died(files: list[LedgerEntry], seconds: float) -> str:
    """The id of a notify run as `sensor-ingest run` makes it, where no worker would run it later."""
    with get_client(sync_client=True) as client:
        parameters = {"files": [file.model_dump(mode="json") for file in files], "pause_seconds": seconds}
        run = client.create_flow_run(notify, parameters=parameters, state=Running())
        client.set_flow_run_state(run.id, Paused(timeout_seconds=3600))
        return str(run.id)


@pytest.mark.usefixtures("world")
def test_a_run_whose_process_is_gone_gives_up_its_slot() -> None:
    with get_client(sync_client=True) as client:
        dead = client.create_flow_run(notify, name="dead", parameters={"files": []}, state=Pending(name="Submitting"))
        assert "dead" not in swept().crashed
        assert "dead" in swept(stalled_after_seconds=0).crashed
        assert StateType.CRASHED == client.read_flow_run(dead.id).state_type
