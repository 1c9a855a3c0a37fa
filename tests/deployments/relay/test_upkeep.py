"""What the relay looks for beside its queue goes on, whatever fails."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Running

from blocks.domain.models import FileReport, SensorFile
from blocks.file_ledger import FileLedger
from blocks.runtime import Runtime, installed
from deployments.relay.metrics import RelayMetrics
from deployments.relay.relay import Relay
from deployments.relay.stop_signal import StopSignal
from deployments.relay.timings import Timings
from deployments.relay.upkeep import LEDGER_READ_EVERY_SECONDS, Chore, LedgerOfServer, Upkeep
from tests.support.deployed_system import DeployedSystem
from tests.support.table_time import table_time_later


class Clock(Runtime):
    """A monotonic clock that the test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with installed(clock):
        yield clock


# ---- A look that is repeated ---------------------------------------------------------------------------------------


def test_a_look_that_fails_is_made_again_after_pauses_that_grow(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    looks: list[float] = []

    def fails() -> None:
        looks.append(clock.seconds)
        raise ConnectionError("the server is away")

    metrics = RelayMetrics()
    chore = Chore("the look", fails, StopSignal(), metrics, Timings())
    for clock.seconds in range(0, 40, 2):
        assert chore.look()
    assert [0, 2, 4, 10, 26] == looks
    assert (5, "the server is away") == (metrics.failures, metrics.last_failure)
    assert "the look failed; next attempt in 15 s: the server is away" in caplog.text


def test_no_look_is_made_after_a_stop_was_requested(clock: Clock) -> None:
    assert clock
    stop, looks = StopSignal(), list[None]()
    chore = Chore("the look", lambda: looks.append(None), stop, RelayMetrics(), Timings())
    assert chore.look()
    stop.request()
    assert not chore.look()
    assert 1 == len(looks)


# ---- The ledger ----------------------------------------------------------------------------------------------------


class Server:
    """A server whose block the test edits; `away` while it cannot be reached."""

    def __init__(self) -> None:
        self.table, self.away = "before", False

    def __call__(self) -> FileLedger:
        if self.away:
            raise ConnectionError
        return FileLedger(table_name=self.table)


def test_the_ledger_is_read_again_every_minute_and_the_last_one_serves_while_the_server_is_away(clock: Clock) -> None:
    server = Server()
    ledger, names = LedgerOfServer(server), list[str]()

    def read_after(seconds: float, *, away: bool) -> None:
        clock.seconds += seconds
        server.away = away
        names.append(ledger().table_name)

    read_after(0, away=False)
    server.table = "after"
    read_after(LEDGER_READ_EVERY_SECONDS - 1, away=False)
    read_after(2, away=True)
    read_after(LEDGER_READ_EVERY_SECONDS, away=False)
    assert ["before", "before", "before", "after"] == names


def test_a_block_that_cannot_be_read_again_is_logged_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    ledger = LedgerOfServer(server)
    ledger()
    server.away = True
    for _ in range(3):
        clock.seconds += LEDGER_READ_EVERY_SECONDS
        ledger()
    assert ["the ledger's block cannot be read again, and is used as it was: ConnectionError"] == caplog.messages


def test_a_block_that_was_not_edited_keeps_the_table_s_time(clock: Clock) -> None:
    ledger = LedgerOfServer(Server())
    before = ledger()
    clock.seconds = LEDGER_READ_EVERY_SECONDS
    assert before is ledger()


def test_without_a_ledger_the_look_fails_until_the_server_answers(clock: Clock) -> None:
    assert clock
    server = Server()
    server.away = True
    ledger = LedgerOfServer(server)
    with pytest.raises(ConnectionError):
        ledger()
    server.away = False
    assert "before" == ledger().table_name


# ---- The relay of a deployed system --------------------------------------------------------------------------------


def relay_of(system: DeployedSystem) -> tuple[Relay, Upkeep]:
    assert system
    relay = Relay.of_stack()
    assert relay.upkeep
    return relay, relay.upkeep


def test_the_relay_of_a_stack_announces_due_files_of_its_ledger(
    deployed_system: DeployedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, _ = relay_of(deployed_system)
    assert deployed_system.outputs.files_table_name == relay.ledger().table_name
    file = SensorFile(bucket=deployed_system.outputs.bucket_name, key="incoming/due.csv")
    relay.ledger().expect([file], timedelta(seconds=-5))
    events: list[Any] = []
    monkeypatch.setattr(relay, "announce", lambda files, prefix, _: events.append((list(files), prefix)))
    relay.take_up_due_files()
    relay.take_up_due_files()
    assert [([file], "incoming/")] == events


def test_an_overdue_email_gets_a_run_of_the_notify_deployment(deployed_system: DeployedSystem) -> None:
    relay, upkeep = relay_of(deployed_system)
    ledger, bucket = relay.ledger(), deployed_system.outputs.bucket_name
    ledger.collect("overdue", [], 0)
    report = FileReport(bucket=bucket, key="incoming/told.csv", version="v1", status="archived")
    assert "overdue" == ledger.finish_collecting("overdue", [report], timedelta(seconds=-60))
    upkeep.take_up_emails()
    run_id = ledger.email("overdue").flow_run_id
    runs = {str(run.id): run for run in deployed_system.prefect.read_flow_runs()}
    assert run_id is not None
    assert "overdue" == runs[run_id].parameters["email_id"]
    with table_time_later(60):
        upkeep.take_up_emails()
    assert run_id == ledger.email("overdue").flow_run_id
    ledger.change_email(ledger.email("overdue"), lambda email: email.sent(datetime.now(UTC), "a test"))
    deployed_system.prefect.delete_flow_run(runs[run_id].id)


def test_a_silent_run_gives_up_its_slot(deployed_system: DeployedSystem, clock: Clock) -> None:
    relay, upkeep = relay_of(deployed_system)
    deployment = deployed_system.deployment_id("ingest-sensor-files")
    free = relay.slots.free()
    objects = {"objects": [f"s3://{deployed_system.outputs.bucket_name}/incoming/a.csv"]}
    run = deployed_system.prefect.create_flow_run_from_deployment(deployment, parameters=objects, state=Running())
    assert free - 1 == relay.slots.free()
    for clock.seconds in range(0, 120, 5):
        upkeep.end_silent_runs()
    assert StateType.CRASHED == deployed_system.prefect.read_flow_run(run.id).state_type
    assert free == relay.slots.free()
    deployed_system.prefect.delete_flow_run(run.id)
