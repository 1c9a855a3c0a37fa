"""One sweep takes up whatever was left behind, and leaves alone what is under way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Paused, Pending, Running

from blocks.domain.errors import PermissionMissingError, SweepFailedError
from blocks.domain.models import FileReport, LedgerEntry, SensorFile, SweepReport
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned
from blocks.landing_zone import LandingZone
from blocks.saved_blocks import load_blocks
from flows import sweep as sweeping
from flows.ingest import ingest_sensor_files
from flows.loading.ingest_file import ingest_key
from flows.loading.large_files import LargeFiles
from flows.loading.step_runs import within_task_run
from flows.notification.overdue import OverdueEmails
from flows.notify import notify
from flows.recovery.due_files import CLAIMED_WITHIN, take_up_due
from flows.sweep import sweep
from tests.flows.recovery.slots import Announced, SetSlots
from tests.support.table_time import table_time_later
from tests.support.world import World

ROW = "0000-0001,1483906366,1"
OVERDUE = timedelta(seconds=-60)
"""A wait that is over."""


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> Announced:
    """What is announced is noted here: there is no deployment that an event would start."""
    announced = Announced()
    monkeypatch.setattr(sweeping, "announce", announced)
    return announced


@pytest.fixture(autouse=True)
def slots(monkeypatch: pytest.MonkeyPatch) -> SetSlots:
    slots = SetSlots()
    monkeypatch.setattr(sweeping, "DeploymentSlots", lambda: slots)
    return slots


def swept(older_than_seconds: float = 0, **asked: float) -> SweepReport:
    report = sweep(older_than_seconds, **asked)
    assert isinstance(report, SweepReport)
    return report


def claimed(uri: str, email_id: str | None = None) -> tuple[FileLedger, Owned]:
    blocks = load_blocks()
    found = blocks.landing_zone.describe(SensorFile.model_validate(uri))
    assert found is not None
    owned = blocks.file_ledger.claim(found, f"claim of {uri}", "another run", email_id=email_id)
    assert isinstance(owned, Owned)
    return blocks.file_ledger, owned


def archived(uri: str, email_id: str | None = None) -> LedgerEntry:
    """The entry of a file whose rows were written, whose copy was stored, and which was not deleted any more."""
    ledger, owned = claimed(uri, email_id)
    entry = owned.entry.model_copy(
        update={
            "status": "archived",
            "archived_to": uri.replace("/incoming/", "/processed/"),
            "finished_at": datetime.now(UTC),
        }
    )
    ledger.settle(owned.held, entry)
    ledger.end_claim(owned.held)
    return entry


# ---- Files ---------------------------------------------------------------------------------------------------------


def test_files_that_were_never_announced_are_announced_but_for_folders_and_other_prefixes(
    world: World, announced: Announced
) -> None:
    stranded = world.put(f"{ROW}\n", "incoming/stranded é+1.csv")
    world.put("", "incoming/folder/")
    world.put(f"{ROW}\n", "processed/done.csv")
    found = [file.uri for file in swept().announced if "stranded" in file.uri or "done" in file.uri]
    assert [stranded] == found
    assert 1 == announced.times("incoming/stranded é+1.csv")
    swept()
    assert 1 == announced.times("incoming/stranded é+1.csv")


def test_files_that_have_just_arrived_are_left_to_their_events(world: World, announced: Announced) -> None:
    world.put(f"{ROW}\n", "incoming/fresh.csv")
    swept(3600)
    assert 0 == announced.times("incoming/fresh.csv")


def test_files_that_a_run_holds_are_left_to_it_until_its_lease_ends(world: World, announced: Announced) -> None:
    claimed(world.put(f"{ROW}\n", "incoming/held.csv"))
    swept()
    assert 0 == announced.times("incoming/held.csv")
    with table_time_later(65):
        swept()
    assert 1 == announced.times("incoming/held.csv")


def test_without_a_free_slot_files_are_left_to_the_relay(world: World, announced: Announced, slots: SetSlots) -> None:
    world.put(f"{ROW}\n", "incoming/no-slot.csv")
    slots.free_now = 0
    assert [] == swept().announced
    relayed = Announced()
    with table_time_later(2):
        take_up_due(load_blocks().file_ledger, SetSlots(), relayed, "incoming/")
    assert (0, 1) == (announced.times("incoming/no-slot.csv"), relayed.times("incoming/no-slot.csv"))


def test_an_archived_file_that_was_left_in_incoming_is_announced_once_and_the_run_moves_it(
    world: World, announced: Announced
) -> None:
    uri = world.put(f"{ROW}\n", "incoming/left-behind.csv")
    archived(uri)
    swept()
    assert 1 == announced.times("incoming/left-behind.csv")
    loaded(uri)
    assert {"processed/left-behind.csv"} == world.keys("/left-behind.csv")
    with table_time_later(7200):
        swept()
    assert 1 == announced.times("incoming/left-behind.csv")


def test_a_file_that_cannot_be_moved_is_announced_less_and_less_often(
    world: World, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.put(f"{ROW}\n", "incoming/immovable.csv")
    archived(uri)

    def refused(_zone: LandingZone, file: SensorFile) -> bool:
        raise PermissionMissingError("s3:DeleteObject", file.uri, "sensor-landing-zone/sensor-ingest")

    monkeypatch.setattr(LandingZone, "remove", refused)
    swept()
    file, ledger = SensorFile.model_validate(uri), load_blocks().file_ledger

    @flow
    def four_hours() -> None:
        for minutes in range(0, 240, 10):
            with table_time_later(60 * minutes):
                taken_up = take_up_due(ledger, SetSlots(), announced, "incoming/")
                if minutes == 0 or file.key in {each.key for each in taken_up}:
                    ingest_key(file, LargeFiles(), None, within_task_run)

    four_hours()
    assert 8 <= announced.times("incoming/immovable.csv") <= 12  # of 24 looks; later every hour
    monkeypatch.undo()


def loaded(uri: str, *, force: bool = False) -> FileReport:
    state: State[Any] = ingest_sensor_files([SensorFile.model_validate(uri)], 0, force=force, return_state=True)
    result: Any = state.result(raise_on_failure=False)
    report = result.report if isinstance(result, Exception) else result  # type: ignore[attr-defined] # IngestFailedError
    first: FileReport = report.files[0]
    return first


# ---- Emails --------------------------------------------------------------------------------------------------------


def waiting(world: World, name: str) -> str:
    """The id of an overdue email about an archived file."""
    entry = archived(world.put(f"{ROW}\n", f"incoming/{name}"), email_id=name)
    world.aws.client("s3").delete_object(Bucket=entry.bucket, Key=entry.key)
    ledger = load_blocks().file_ledger
    ledger.collect(name, [SensorFile(bucket=entry.bucket, key=entry.key)], 0)
    assert ledger.finish_collecting(name, [entry], OVERDUE)
    return name


def test_an_overdue_email_without_a_run_is_sent_once(world: World) -> None:
    email_id = waiting(world, "untold.csv")
    assert 1 == len(swept().notifications)
    assert [] == swept().notifications
    assert 1 == len(world.mails_about("untold.csv"))
    assert "sent" == load_blocks().file_ledger.email(email_id).state


def test_an_email_that_nothing_resumed_is_resumed(world: World) -> None:
    with get_client(sync_client=True) as client:
        paused = client.create_flow_run(notify, parameters={"files": []}, state=Paused(timeout_seconds=3600))
        load_blocks().file_ledger.assign_run(waiting(world, "overdue.csv"), str(paused.id))
        assert [paused.name] == swept().resumed
        assert StateType.PAUSED != client.read_flow_run(paused.id).state_type


# ---- Runs ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("world")
def test_a_run_whose_process_is_gone_gives_up_its_slot() -> None:
    with get_client(sync_client=True) as client:
        states: dict[str, State[Any]] = {"begins": Pending(name="Submitting"), "runs": Running()}
        dead = {name: client.create_flow_run(notify, name=name, state=state).id for name, state in states.items()}
        assert not dead.keys() & set(swept().crashed)
        assert dead.keys() <= set(swept(silent_after_seconds=0).crashed)
        assert {StateType.CRASHED} == {client.read_flow_run(run).state_type for run in dead.values()}


# ---- Failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "step"),
    [
        ("silent_runs", "end silent runs"),
        ("cancel_runs_without_queue", "cancel lost runs"),
        ("take_up_due", "announce due files"),
        ("find_unannounced", "announce unannounced files"),
        ("take_up_overdue_emails", "send overdue emails"),
    ],
)
def test_a_step_that_fails_stops_no_other_and_fails_the_sweep(
    world: World, announced: Announced, monkeypatch: pytest.MonkeyPatch, function: str, step: str
) -> None:
    for each in STEPS:
        monkeypatch.setattr(sweeping, each, getattr(sweeping, each).with_options(retry_delay_seconds=0))

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("as a test has it")

    monkeypatch.setattr(sweeping, function, fails)
    ledger, name = load_blocks().file_ledger, f"beside-{function}.csv"
    ledger.expect([SensorFile(bucket=world.outputs.bucket_name, key=f"incoming/due-{name}")], -CLAIMED_WITHIN)
    world.put(f"{ROW}\n", f"incoming/stranded-{name}")
    email_id = waiting(world, f"told-{name}")
    with get_client(sync_client=True) as client:
        dead = client.create_flow_run(notify, state=Running()).id
        with pytest.raises(SweepFailedError, match=f"{step}: as a test has it") as caught:
            swept(silent_after_seconds=0)
        done = {
            "end silent runs": client.read_flow_run(dead).state_type == StateType.CRASHED,
            "announce due files": announced.times(f"incoming/due-{name}") == 1,
            "announce unannounced files": announced.times(f"incoming/stranded-{name}") == 1,
            "send overdue emails": ledger.email(email_id).state == "sent",
        }
        client.delete_flow_run(dead)
    assert {each: each != step for each in done} == done
    assert [key for keys in announced.events for key in keys] == [file.key for file in caught.value.report.announced]


STEPS = (
    "end_silent_runs",
    "cancel_lost_runs",
    "announce_due_files",
    "announce_unannounced_files",
    "send_overdue_emails",
)


@pytest.mark.usefixtures("world")
def test_a_ledger_of_version_0_1_is_taken_over_first(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def take_over(_ledger: FileLedger) -> int:
        steps.append("taken over")
        return 0

    def take_up_emails(*_: object) -> OverdueEmails:
        steps.append("emails")
        return OverdueEmails()

    monkeypatch.setattr(FileLedger, "take_over", take_over)
    monkeypatch.setattr(sweeping, "take_up_overdue_emails", take_up_emails)
    swept()
    assert ["taken over", "emails"] == steps
