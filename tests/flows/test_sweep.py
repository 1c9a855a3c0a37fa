"""One sweep takes up whatever was left behind, and leaves alone what somebody is at."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Paused, Pending

from blocks.documents import load_environment
from flows import mending
from flows import sweep as sweeping
from flows.models import LedgerEntry, SensorFile, SweepReport
from flows.notify import notify
from flows.sweep import sweep
from flows.wait import wait_tag
from tests.flows.conftest import World

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


def claimed(uri: str, run_id: str = "00000000-0000-4000-8000-000000000000") -> LedgerEntry:
    blocks = load_environment()
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
    [entry] = load_environment().file_ledger.entries_of(world.outputs.bucket_name, key)
    return entry


# ---- Files ---------------------------------------------------------------------------------------------------------


def test_files_that_have_waited_too_long_are_announced_but_for_folders_and_other_prefixes(world: World) -> None:
    stranded = world.put("0000-0001,1483906366,1\n", "incoming/stranded é+1.csv")
    world.put("", "incoming/folder/")
    world.put("0000-0001,1483906366,1\n", "processed/done.csv")
    found = [file.uri for file in swept().announced if "stranded" in file.uri or "done" in file.uri]
    assert [stranded] == found
    assert any("incoming/stranded é+1.csv" in said for said in announced)


def test_files_that_have_just_arrived_are_left_to_their_events(world: World) -> None:
    world.put("0000-0001,1483906366,1\n", "incoming/fresh.csv")
    assert [] == [file.key for file in swept(3600).announced]


def test_files_that_a_run_holds_are_left_to_it(world: World) -> None:
    uri = world.put("0000-0001,1483906366,1\n", "incoming/in-hand.csv")
    entry = claimed(uri)
    assert uri not in [file.uri for file in swept().announced]
    load_environment().file_ledger.release(entry, "it could not be loaded")
    assert uri in [file.uri for file in swept().announced]


def test_a_file_of_which_two_loads_have_failed_is_announced_alone(world: World) -> None:
    world.put("0000-0001,1483906366,1\n", "incoming/in-company.csv")
    uri = world.put("0000-0001,1483906366,1\n", "incoming/suspect.csv")
    for _ in range(2):
        load_environment().file_ledger.release(claimed(uri), "it could not be loaded")
    swept()
    assert any(said.startswith("['incoming/suspect.csv'] ") for said in announced)


def test_files_that_a_dead_run_holds_are_freed_and_announced(world: World) -> None:
    uri = world.put("0000-0001,1483906366,1\n", "incoming/held-by-the-dead.csv")
    claimed(uri, run_of_another_process(Completed(), []))
    assert uri in [file.uri for file in swept().announced]
    assert "loading" == claimed(uri, str(uuid4())).status


def test_a_file_that_somebody_took_away_while_it_was_loaded_is_noted_as_missing(world: World) -> None:
    entry = claimed(world.put("0000-0001,1483906366,1\n", "incoming/taken-away.csv"))
    load_environment().file_ledger.release(entry)
    world.aws.client("s3").delete_object(Bucket=entry.bucket, Key=entry.key)
    swept()
    assert "missing" == the_entry(world, entry.key).status


# ---- Emails --------------------------------------------------------------------------------------------------------


def settled(world: World, name: str) -> LedgerEntry:
    entry = claimed(world.put("0000-0001,1483906366,1\n", f"incoming/{name}"))
    done = entry.model_copy(
        update={"status": "archived", "finished_at": entry.claimed_at - timedelta(hours=1), "lease_until": None}
    )
    load_environment().file_ledger.record(done)
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
    monkeypatch.setattr(mending, "OVERDUE_AFTER", timedelta(0))
    overdue = run_of_another_process(Paused(timeout_seconds=3600), [settled(world, "overdue.csv")], wait_tag(0.001))
    waiting = run_of_another_process(Paused(timeout_seconds=3600), [], wait_tag(600))
    assert 1 == len(swept(60).resumed)
    assert "Paused" == state_of(waiting)
    assert "Paused" != state_of(overdue)


@pytest.mark.usefixtures("world")
def test_a_run_whose_process_is_gone_gives_up_its_slot() -> None:
    with get_client(sync_client=True) as client:
        dead = client.create_flow_run(notify, name="dead", parameters={"files": []}, state=Pending(name="Submitting"))
        assert "dead" not in swept().crashed
        assert "dead" in swept(dead_after_seconds=0).crashed
        assert StateType.CRASHED == client.read_flow_run(dead.id).state_type
