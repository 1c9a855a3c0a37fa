"""Emails whose runs wait for a slot are sent by a run that has one, each once; all others are left alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_UI_URL, temporary_settings
from prefect.states import Completed, Crashed, Paused, Pending, Running, Scheduled
from prefect.tasks import Task

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.models import FileReport
from blocks.file_ledger import FileLedger, due
from blocks.runtime import Runtime, installed
from flows.notification.backlog import SENDS_FOR_SECONDS, send_backlog
from flows.notify import notify
from tests.flows.notification.waiting_emails import deployed, report, run_in, state_of, waiting
from tests.support.table_time import table_time_later
from tests.support.waiting import eventually
from tests.support.world import World

OTHER = "{files[0].__init__.__globals__[__name__]} {x} {email_id:>999} {.csv"
"""Prefect formats the names of task runs; the emails of runs are named after files."""


@dataclass
class Sender:
    """Claims each email and notes it as sent, as the flow does with SES."""

    ledger: FileLedger
    asked: list[str] = field(default_factory=list)
    fails: bool = False

    def __call__(self, email_id: str, files: Sequence[FileReport], _instead_of: FlowRun | None) -> str | None:
        self.asked.append(email_id)
        claimed = self.ledger.claim_email(email_id, f"claim of {email_id}", files, [["ada@example.com"]])
        if claimed is None:
            return None
        if self.fails:
            self.ledger.put_off_email(claimed)
            raise RuntimeError("SES takes no more")
        self.ledger.record_message(claimed, ["ada@example.com"], f"id of {email_id}", by="a run")
        return f"id of {email_id}"


def in_backlog(world: World, ledger: FileLedger, name: str, state: State[None] | None = None) -> str:
    """The id of the run of an overdue email, which waits for a slot."""
    run_id = run_in(state or Scheduled(), [report(world, name)], name)
    waiting(world, ledger, name, run_id)
    return run_id


def test_a_run_of_the_deployment_sends_its_email_and_then_that_of_a_run_that_waits(
    world: World, ledger: FileLedger
) -> None:
    with deployed() as (client, deployment):
        ingest = client.create_flow_run(notify, parameters={"files": [], "email_id": None})
        placeholder = client.create_task_run(Task(fn=lambda: None, name="notify"), ingest.id, "notify", state=Pending())
        own, waiting_run = (
            client.create_flow_run_from_deployment(
                deployment,
                parameters={"files": [report(world, name).model_dump(mode="json")], "email_id": name},
                state=Scheduled(),
                name=f"email about {name}",
                parent_task_run_id=parent,
            )
            for name, parent in (("own-email", None), (OTHER, placeholder.id))
        )
        waiting(world, ledger, "own-email", str(own.id))
        waiting(world, ledger, OTHER, str(waiting_run.id))
        with temporary_settings({PREFECT_UI_URL: "http://127.0.0.1:4200"}):
            run_flow(notify, flow_run=own, parameters=own.parameters)
        ended = client.read_flow_run(waiting_run.id)
        of_own = FlowRunFilter(id=FlowRunFilterId(any_=[own.id]))
        names = {f"claim email about {OTHER}", f"email about {OTHER}", f"record email about {OTHER}"}
        eventually(
            lambda: names <= {each.name for each in client.read_task_runs(flow_run_filter=of_own)}, 30, "its task runs"
        )
        assert StateType.COMPLETED == client.read_task_run(placeholder.id).state_type
    assert ["sent", "sent"] == [ledger.email(name).state for name in ("own-email", OTHER)]
    assert ended.state is not None
    assert (StateType.COMPLETED, True) == (
        ended.state_type,
        str(ended.state.message).startswith(f"Its email was sent by the run {own.name} ({own.id}): "),
    )
    [mail] = world.mails_about(OTHER)
    for title, run_id in (("created", ingest.id), ("sent", own.id)):
        assert f"The run that {title} this email: http://127.0.0.1:4200/runs/flow-run/{run_id}" in mail.text


def test_a_run_without_a_deployment_sends_only_its_own_email(world: World, ledger: FileLedger) -> None:
    run_id = in_backlog(world, ledger, "of-a-run-that-waits")
    waiting(world, ledger, "of-this-run", None)
    notify([report(world, "of-this-run")], 0, "of-this-run")
    assert ("sent", StateType.SCHEDULED) == (ledger.email("of-this-run").state, state_of(run_id))


@pytest.mark.parametrize("paused", ["work queue", "work pool"])
def test_while_a_person_has_paused_the_emails_none_is_sent(world: World, ledger: FileLedger, paused: str) -> None:
    with get_client(sync_client=True) as client:
        pool = client.create_work_pool(WorkPoolCreate(name=f"of-emails-{paused}", type="process"))
        with deployed(work_pool_name=pool.name) as (_, deployment):
            run = client.create_flow_run_from_deployment(
                deployment,
                parameters={"files": [report(world, paused).model_dump(mode="json")], "email_id": paused},
                state=Scheduled(),
            )
            waiting(world, ledger, paused, str(run.id))
            assert run.work_queue_id
            if paused == "work queue":
                client.update_work_queue(run.work_queue_id, is_paused=True)
            else:
                client.update_work_pool(pool.name, WorkPoolUpdate(is_paused=True))
            assert 0 == send_backlog(Sender(ledger))
            client.update_work_queue(run.work_queue_id, is_paused=False)
            client.update_work_pool(pool.name, WorkPoolUpdate(is_paused=False))
            assert 1 == send_backlog(Sender(ledger))
        client.delete_work_pool(pool.name)


def test_a_pause_in_the_middle_of_the_backlog_counts_from_the_next_lot_on(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.notification.backlog.EMAILS_READ", 1)
    with get_client(sync_client=True) as client:
        pool = client.create_work_pool(WorkPoolCreate(name="of-emails-later", type="process"))
        with deployed(work_pool_name=pool.name) as (_, deployment):
            for name in ("before-the-pause", "during-the-pause"):
                parameters = {"files": [report(world, name).model_dump(mode="json")], "email_id": name}
                run = client.create_flow_run_from_deployment(deployment, parameters=parameters, state=Scheduled())
                waiting(world, ledger, name, str(run.id))
            send = Sender(ledger)

            def and_pause(*args: Any) -> str | None:  # noqa: ANN401 - those of the sender
                client.update_work_pool(pool.name, WorkPoolUpdate(is_paused=True))
                return send(*args)

            assert (1, 1) == (send_backlog(and_pause), len(send.asked))
        client.delete_work_pool(pool.name)


@pytest.mark.parametrize(
    "state",
    [Pending(), Running(), Completed(), Crashed(), Paused(timeout_seconds=3600)],
    ids=["pending", "running", "completed", "crashed", "paused"],
)
def test_an_email_whose_run_does_not_wait_for_its_start_is_left_alone(
    world: World, ledger: FileLedger, state: State[None]
) -> None:
    name = f"begun-{state.name}"
    run_id = in_backlog(world, ledger, name, state)
    assert 0 == send_backlog(Sender(ledger))
    assert ("waiting", state.type) == (ledger.email(name).state, state_of(run_id))


def test_an_email_is_left_to_its_run_for_45_seconds(world: World, ledger: FileLedger) -> None:
    run_id = run_in(Scheduled(), [report(world, "just-due")], "just-due")
    assert ledger.finish_collecting("just-due", [report(world, "just-due")], timedelta(0))
    ledger.assign_run("just-due", run_id)
    with table_time_later(40):
        assert 0 == send_backlog(Sender(ledger))
    with table_time_later(50):
        assert 1 == send_backlog(Sender(ledger))


def test_an_email_that_was_put_off_because_its_run_only_waits_is_sent(world: World, ledger: FileLedger) -> None:
    in_backlog(world, ledger, "put-off")
    [due] = ledger.due_emails()
    assert ledger.take_up_email(due, counts=False)
    assert 1 == send_backlog(Sender(ledger))


def test_an_email_that_ses_refused_waits_for_its_pause(world: World, ledger: FileLedger) -> None:
    in_backlog(world, ledger, "refused-by-ses")
    send = Sender(ledger, fails=True)
    assert 0 == send_backlog(send)
    assert 0 == send_backlog(send)
    assert ["refused-by-ses"] == send.asked


def test_after_an_email_that_fails_no_other_is_sent_and_nothing_is_raised(world: World, ledger: FileLedger) -> None:
    runs = [in_backlog(world, ledger, f"behind-a-failure-{number}") for number in range(3)]
    send = Sender(ledger, fails=True)
    assert (0, 1) == (send_backlog(send), len(send.asked))
    assert {StateType.SCHEDULED} == {state_of(run_id) for run_id in runs}


def test_an_email_that_another_run_has_claimed_by_now_is_left_to_it(world: World, ledger: FileLedger) -> None:
    runs = [in_backlog(world, ledger, f"claimed-by-now-{number}") for number in range(2)]

    asked: list[str] = []

    def claimed(email_id: str, *_: object) -> str:
        asked.append(email_id)
        raise EmailClaimedElsewhereError(email_id, "a minute")

    assert (0, 2) == (send_backlog(claimed), len(asked))
    assert {StateType.SCHEDULED} == {state_of(run_id) for run_id in runs}


def test_an_email_that_is_claimed_by_now_is_not_claimed_again(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused claim would be a failed task run, with a traceback in the log."""
    in_backlog(world, ledger, "claimed-since")
    listed = [*ledger.email_backlog(10)]
    assert ledger.claim_email("claimed-since", "a claim", [report(world, "claimed-since")], [["ada@example.com"]])
    monkeypatch.setattr(FileLedger, "email_backlog", lambda *_: iter(listed))
    send = Sender(ledger)
    assert (0, []) == (send_backlog(send), send.asked)


def test_of_thousands_that_ses_has_refused_only_the_first_are_looked_through(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        in_backlog(world, ledger, f"refused-{number}")
        claimed = ledger.claim_email(f"refused-{number}", "a claim", [report(world, "any")], [["ada@example.com"]])
        assert claimed
        ledger.put_off_email(claimed)
    in_backlog(world, ledger, "behind-them")
    with table_time_later(10):
        assert ledger.take_up_email(ledger.email("behind-them"), counts=False)
    monkeypatch.setattr(due, "_BACKLOG_READS", 2)
    with table_time_later(100):
        assert [] == list(ledger.email_backlog(1))
        assert ["behind-them"] == [email.email_id for email in ledger.email_backlog(5)]


def test_an_email_that_was_sent_by_now_is_left_to_its_run(world: World, ledger: FileLedger) -> None:
    run_id = in_backlog(world, ledger, "sent-by-now")
    assert 0 == send_backlog(lambda *_: None)
    assert StateType.SCHEDULED == state_of(run_id)


@pytest.mark.parametrize("email_id", ["of-another", None])
def test_a_run_that_a_person_has_given_other_parameters_stops_no_other(
    world: World, ledger: FileLedger, email_id: str | None
) -> None:
    invalid = FileReport.model_construct(bucket="landing", key="incoming/a.csv", status="of its own")
    for name, given, files in (
        (f"no-files-{email_id}", f"no-files-{email_id}", []),
        (f"other-files-{email_id}", f"other-files-{email_id}", [invalid]),
        (f"other-email-{email_id}", email_id, [report(world, "any")]),
    ):
        waiting(world, ledger, name, run_in(Scheduled(), files, given))
    in_backlog(world, ledger, f"beside-them-{email_id}")
    send = Sender(ledger)
    assert (1, [f"beside-them-{email_id}"]) == (send_backlog(send), send.asked)


@pytest.mark.parametrize("run_id", [None, "no run id", "00000000-0000-4000-8000-000000000000"])
def test_an_email_without_a_run_is_left_to_the_look_at_overdue_emails(
    world: World, ledger: FileLedger, run_id: str | None
) -> None:
    waiting(world, ledger, f"without-a-run-{run_id}", run_id)
    in_backlog(world, ledger, f"beside-one-without-a-run-{run_id}")
    send = Sender(ledger)
    assert (1, [f"beside-one-without-a-run-{run_id}"]) == (send_backlog(send), send.asked)


def test_after_a_minute_the_slot_is_left_to_another_run(world: World, ledger: FileLedger) -> None:
    for number in range(3):
        in_backlog(world, ledger, f"one-a-minute-{number}")
    send = Sender(ledger)

    class Slow(Runtime):
        def monotonic(self) -> float:
            return super().monotonic() + SENDS_FOR_SECONDS * len(send.asked)

    with installed(Slow()):
        assert 1 == send_backlog(send)


def test_emails_are_read_page_by_page_until_none_is_left(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"many-{number}" for number in range(5)}
    for name in names:
        in_backlog(world, ledger, name)
    monkeypatch.setattr("flows.notification.backlog.EMAILS_READ", 2)
    send = Sender(ledger)
    assert (5, names) == (send_backlog(send), set(send.asked))


def test_without_the_server_nothing_is_raised(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_backlog(world, ledger, "server-away")
    away: Any = lambda **_: SyncPrefectClient("http://127.0.0.1:9/api")  # noqa: E731
    monkeypatch.setattr("flows.notification.backlog.get_client", away)
    assert 0 == send_backlog(Sender(ledger))
