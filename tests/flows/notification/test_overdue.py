"""An email whose run is gone is sent all the same, once; one that is under way is left alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

import pytest
from httpx import Request, Response, TransportError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Crashed, Paused, Pending, Running, Scheduled

from blocks.domain.errors import DeploymentMissingError
from blocks.domain.models import FileReport, LedgerEntry, Notification, SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned
from blocks.runtime import Runtime, installed
from blocks.saved_blocks import load_blocks
from flows.notification import overdue
from flows.notification.overdue import OverdueEmails, send_by_deployment, take_up_overdue_emails
from flows.notify import notify
from tests.flows.notification.waiting_emails import report, run_in, state_of, waiting
from tests.support.table_time import table_time_later
from tests.support.world import World


class Started:
    """Notes the emails for which a run is started."""

    def __init__(self) -> None:
        self.emails: dict[str, list[FileReport]] = {}
        self.fails_for = ""

    def __call__(self, reports: Sequence[FileReport], email_id: str) -> Notification:
        if email_id == self.fails_for:
            raise RuntimeError("it cannot be started")
        self.emails[email_id] = list(reports)
        return Notification(flow_run_id=run_in(Scheduled()), flow_run_name=email_id, state="Scheduled", due_at=None)


def take_up(ledger: FileLedger, started: Started | None = None) -> OverdueEmails:
    return take_up_overdue_emails(ledger, started or Started())


# ---- Emails that wait ------------------------------------------------------------------------------------------------


def test_an_email_that_is_not_overdue_is_left_alone(world: World, ledger: FileLedger) -> None:
    ledger.collect("fresh", [SensorFile(bucket=world.outputs.bucket_name, key="incoming/fresh")], 0)
    ledger.finish_collecting("fresh", [report(world, "fresh")], timedelta(0))
    with table_time_later(40):
        assert OverdueEmails() == take_up(ledger)


def test_a_paused_run_that_nothing_resumed_is_resumed_once(world: World, ledger: FileLedger) -> None:
    run = run_in(Paused(timeout_seconds=3600))
    waiting(world, ledger, "paused", run)
    done = take_up(ledger)
    assert (1, []) == (len(done.resumed), done.notifications)
    assert StateType.RUNNING == state_of(run)
    assert OverdueEmails() == take_up(ledger)


def test_a_paused_run_that_cannot_be_resumed_is_not_waited_for(world: World, ledger: FileLedger) -> None:
    """It is to be scheduled again, and has no deployment any more."""
    waiting(world, ledger, "paused-for-ever", run_in(Paused(timeout_seconds=3600, reschedule=True)))
    assert ["paused-for-ever"] == [each.flow_run_name for each in take_up(ledger).notifications]


@pytest.mark.parametrize("state", [Scheduled(), Pending(), Running()], ids=lambda state: state.name)
def test_an_email_whose_run_is_under_way_is_left_to_it_however_long_that_takes_to_begin(
    world: World, ledger: FileLedger, state: State[None]
) -> None:
    name = f"under-way-{state.name}"
    waiting(world, ledger, name, run_in(state))
    for number in range(4):
        with table_time_later(35 * number):
            assert OverdueEmails() == take_up(ledger)
    assert 0 == ledger.email(name).tries


@pytest.mark.parametrize("state", [Crashed(), Completed(), None], ids=["crashed", "completed", "unknown"])
def test_an_email_without_a_live_run_gets_a_new_one_which_is_then_left_to_it(
    world: World, ledger: FileLedger, state: State[None] | None
) -> None:
    run = run_in(state) if state else "00000000-0000-4000-8000-000000000000"
    name = f"abandoned-{state.name if state else None}"
    waiting(world, ledger, name, run)
    started = Started()
    assert [name] == [each.flow_run_name for each in take_up(ledger, started).notifications]
    assert name in started.emails
    assert run != ledger.email(name).flow_run_id
    with table_time_later(70):
        assert [] == take_up(ledger, started).notifications


def test_an_email_that_was_never_given_a_run_gets_one(world: World, ledger: FileLedger) -> None:
    waiting(world, ledger, "without-run", None)
    assert 1 == len(take_up(ledger).notifications)


def test_a_run_that_runs_for_minutes_without_claiming_its_email_is_not_waited_for(
    world: World, ledger: FileLedger
) -> None:
    """It was resumed though its process was gone, for example. If it is alive, it finds the email claimed."""

    class Later(Runtime):
        def utc_now(self) -> datetime:
            return datetime.now(UTC) + timedelta(seconds=110)

    waiting(world, ledger, "stuck", run_in(Running()))
    with installed(Later()):
        assert 1 == len(take_up(ledger).notifications)


def test_a_run_whose_lease_on_its_email_has_expired_is_not_waited_for(world: World, ledger: FileLedger) -> None:
    name = "lease-expired"
    email = waiting(world, ledger, name, dead := run_in(Running()))
    assert ledger.claim_email(email.email_id, f"{dead}-claim", [report(world, name)], [["ada@example.com"]])
    with table_time_later(55):
        assert OverdueEmails() == take_up(ledger)
    assert StateType.RUNNING == state_of(dead)
    with table_time_later(65):
        [started] = take_up(ledger).notifications
    assert StateType.CRASHED == state_of(dead), "it keeps the slot of another email"
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(started.flow_run_id), Running(), force=True)
    with table_time_later(100):  # the new run has begun, and has not claimed the email yet
        assert OverdueEmails() == take_up(ledger)


def test_a_run_that_begins_after_another_died_with_its_email_is_left_to_send_it(
    world: World, ledger: FileLedger
) -> None:
    """The other one had sent emails of runs that waited for a slot."""
    name = "claimed-by-another"
    email = waiting(world, ledger, name, begins := run_in(Running()))
    assert ledger.claim_email(email.email_id, "another-claim", [report(world, name)], [["ada@example.com"]])
    with table_time_later(65):
        assert OverdueEmails() == take_up(ledger)
    assert StateType.RUNNING == state_of(begins)


def test_an_email_whose_runs_all_fail_gets_fewer_and_fewer(world: World, ledger: FileLedger) -> None:
    waiting(world, ledger, "fails", run_in(Crashed()))
    now, begun = 0, []
    for pause in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        for seconds in (now, now + pause - 10):
            with table_time_later(seconds), get_client(sync_client=True) as client:
                started = take_up(ledger).notifications
                for each in started:
                    client.set_flow_run_state(UUID(each.flow_run_id), Crashed(), force=True)
                begun.append(len(started))
        now += pause + 10
    assert [1, 0] * 9 == begun


def test_a_new_run_has_the_reports_of_the_earlier_one_or_else_the_entries_of_the_ledger(
    world: World, ledger: FileLedger
) -> None:
    told = report(world, "told").model_copy(update={"problem": "as the earlier run knew it"})
    waiting(world, ledger, "told", run_in(Crashed(), [told]))
    waiting(world, ledger, "lost", None)
    entry = settled(world, ledger, "in-the-ledger", "in-the-ledger")
    ledger.collect("in-the-ledger", [SensorFile(bucket=entry.bucket, key=entry.key)], 0)
    ledger.finish_collecting("in-the-ledger", [entry], timedelta(seconds=-60))
    started = Started()
    take_up(ledger, started)
    assert [told] == started.emails["told"]
    assert [("incoming/in-the-ledger", "archived")] == [(r.key, r.status) for r in started.emails["in-the-ledger"]]
    [lost] = started.emails["lost"]
    assert ("incoming/lost", "failed") == (lost.key, lost.status)
    assert "the run that knew why has died" in str(lost.problem)


def test_an_email_that_cannot_be_dealt_with_stops_no_other(world: World, ledger: FileLedger) -> None:
    waiting(world, ledger, "a-bad-one", None)
    waiting(world, ledger, "beside-it", None)
    started = Started()
    started.fails_for = "a-bad-one"
    assert ["beside-it"] == [each.flow_run_name for each in take_up(ledger, started).notifications]
    assert 1 <= ledger.email("a-bad-one").tries
    assert OverdueEmails() == take_up(ledger, started)
    started.fails_for = ""
    with table_time_later(200):
        take_up(ledger, started)
    assert "a-bad-one" in started.emails


@pytest.mark.parametrize("has_run", [True, False])
def test_while_the_server_is_away_no_email_is_put_off(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch, *, has_run: bool
) -> None:
    name = f"server-away-{has_run}"
    email = waiting(world, ledger, name, run_in(Crashed()) if has_run else None)
    with monkeypatch.context() as patch:
        patch.setattr(overdue, "get_client", lambda **_: get_client_of_nobody())
        with pytest.raises(TransportError):
            take_up(ledger)
    assert email == ledger.email(name)


def test_an_email_is_not_put_off_if_the_server_goes_away_while_it_is_taken_up(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "server-goes-away"
    email = waiting(world, ledger, name, run_in(Crashed()))
    answer = Response(503, request=Request("GET", "http://127.0.0.1:9/api/flow_runs"))
    without_database = PrefectHTTPStatusError("no", request=answer.request, response=answer)

    def fails(client: SyncPrefectClient, _run: UUID) -> NoReturn:
        monkeypatch.setattr(client, "read_deployment_by_name", gone)
        gone()

    def gone(*_: object) -> NoReturn:
        raise without_database

    with monkeypatch.context() as patch:
        patch.setattr(SyncPrefectClient, "read_flow_run", fails)
        with pytest.raises(PrefectHTTPStatusError):
            take_up(ledger)
    assert email == ledger.email(name)


def get_client_of_nobody() -> SyncPrefectClient:
    return SyncPrefectClient("http://127.0.0.1:9/api")


def test_of_two_that_see_the_same_overdue_email_one_starts_a_run(world: World, ledger: FileLedger) -> None:
    waiting(world, ledger, "seen-twice", None)
    started, other = Started(), Started()

    class AtOnce(Started):
        def __call__(self, reports: Sequence[FileReport], email_id: str) -> Notification:
            take_up(ledger, other)
            return started(reports, email_id)

    take_up(ledger, AtOnce())
    assert (["seen-twice"], []) == (list(started.emails), list(other.emails))


def test_an_email_that_a_run_claims_meanwhile_is_left_to_it(world: World, ledger: FileLedger) -> None:
    email = waiting(world, ledger, "claimed-meanwhile", None)
    assert ledger.claim_email(email.email_id, "a claim", [report(world, "claimed-meanwhile")], [["ada@example.com"]])
    assert ledger.take_up_email(email, counts=True) is None
    assert "a claim" == ledger.email("claimed-meanwhile").claim_id


# ---- Emails whose ingest run died ------------------------------------------------------------------------------------


def settled(world: World, ledger: FileLedger, name: str, email_id: str) -> LedgerEntry:
    uri = world.put("0000-0001,1483906366,1\n", f"incoming/{name}")
    found = load_blocks().landing_zone.describe(SensorFile.model_validate(uri))
    assert found is not None
    owned = ledger.claim(found, f"claim of {name}", "a run", email_id=email_id)
    assert isinstance(owned, Owned)
    now = datetime.now(UTC)
    entry = owned.entry.model_copy(update={"status": "archived", "archived_to": "s3://a/b", "finished_at": now})
    ledger.settle(owned.held, entry)
    ledger.end_claim(owned.held)
    return entry


def test_an_ingest_run_that_died_is_emailed_about_with_what_it_had_settled_after_the_wait(
    world: World, ledger: FileLedger
) -> None:
    names = ("settled-by-the-dead", "not-begun-by-the-dead")
    files = [SensorFile(bucket=world.outputs.bucket_name, key=f"incoming/{name}") for name in names]
    ledger.collect("of-the-dead", files, 600)
    settled(world, ledger, "settled-by-the-dead", "of-the-dead")
    started = Started()
    with table_time_later(50):
        take_up(ledger, started)
    assert "collecting" == ledger.email("of-the-dead").state
    with table_time_later(70):
        take_up(ledger, started)
    email = ledger.email("of-the-dead")
    assert ("waiting", ["incoming/settled-by-the-dead"]) == (email.state, [key for _, key, _ in email.files])
    with table_time_later(590):
        take_up(ledger, started)
    assert {} == started.emails
    with table_time_later(620):  # no run is there that could send it, so none is waited for
        take_up(ledger, started)
    [told] = started.emails["of-the-dead"]
    assert ("incoming/settled-by-the-dead", "archived") == (told.key, told.status)


def test_an_ingest_run_that_died_before_it_settled_a_file_sends_no_email(world: World, ledger: FileLedger) -> None:
    ledger.collect("nothing-done", [SensorFile(bucket=world.outputs.bucket_name, key="incoming/nothing")], 0)
    started = Started()
    for seconds in (70, 200, 400):
        with table_time_later(seconds):
            take_up(ledger, started)
    assert ({}, "sent") == (started.emails, ledger.email("nothing-done").state)


# ---- By deployment ------------------------------------------------------------------------------------


def test_without_a_deployment_of_notify_the_email_is_tried_again_later(world: World, ledger: FileLedger) -> None:
    waiting(world, ledger, "no-deployment", None)
    assert OverdueEmails() == take_up_overdue_emails(ledger, send_by_deployment)
    assert "waiting" == ledger.email("no-deployment").state
    with pytest.raises(DeploymentMissingError):
        send_by_deployment([report(world, "no-deployment")], "no-deployment")


def test_the_notify_deployment_gets_a_run_that_is_due_now_with_the_email_and_its_reports(
    world: World, ledger: FileLedger
) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(notify), "notify")
        try:
            waiting(world, ledger, "deployed", None)
            [notification] = take_up_overdue_emails(ledger, send_by_deployment).notifications
            run = client.read_flow_run(UUID(notification.flow_run_id))
        finally:
            client.delete_deployment(deployment)
    assert ("deployed", "incoming/deployed") == (run.parameters["email_id"], run.parameters["files"][0]["key"])
    assert StateType.SCHEDULED == run.state_type
    assert notification.flow_run_id == ledger.email("deployed").flow_run_id
