"""Emails whose runs wait for a slot are sent by a run that has one, each once; all others are left alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Crashed, Paused, Pending, Running, Scheduled

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.models import FileReport
from blocks.file_ledger import FileLedger
from blocks.runtime import Runtime, installed
from flows.notification.backlog import SENDS_FOR_SECONDS, send_backlog
from tests.flows.notification.waiting_emails import report, run_in, run_of, state_of, waiting
from tests.support.table_time import table_time_later
from tests.support.world import World


@dataclass
class Sender:
    """Claims each email and notes it as sent, as the flow does with SES."""

    ledger: FileLedger
    asked: list[str] = field(default_factory=list)
    fails: bool = False

    def __call__(self, email_id: str, files: Sequence[FileReport]) -> str | None:
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


@pytest.mark.parametrize(
    "state", [Scheduled(), Paused(timeout_seconds=3600, reschedule=True)], ids=["scheduled", "paused"]
)
def test_an_overdue_email_whose_run_has_not_begun_is_sent_and_its_run_says_by_whom(
    world: World, ledger: FileLedger, state: State[None]
) -> None:
    name = f"in-backlog-{state.name}"
    run_id = in_backlog(world, ledger, name, state)
    send = Sender(ledger)
    assert (1, [name]) == (send_backlog(send), send.asked)
    assert "sent" == ledger.email(name).state
    run = run_of(run_id)
    assert run.state is not None
    assert StateType.COMPLETED == run.state_type
    assert str(run.state.message).startswith("Its email was sent by the run ")
    assert str(run.state.message).endswith(f": id of {name}")


@pytest.mark.parametrize(
    "state", [Pending(), Running(), Completed(), Crashed()], ids=["pending", "running", "completed", "crashed"]
)
def test_an_email_whose_run_has_begun_or_ended_is_left_alone(
    world: World, ledger: FileLedger, state: State[None]
) -> None:
    name = f"begun-{state.name}"
    run_id = in_backlog(world, ledger, name, state)
    assert 0 == send_backlog(Sender(ledger))
    assert ("waiting", state.type) == (ledger.email(name).state, state_of(run_id))


def test_an_email_is_left_to_its_run_for_45_seconds(world: World, ledger: FileLedger) -> None:
    run_id = run_in(Scheduled(), [report(world, "just-due")], "just-due")
    assert ledger.collected("just-due", [report(world, "just-due")], timedelta(0))
    ledger.assigned("just-due", run_id)
    with table_time_later(40):
        assert 0 == send_backlog(Sender(ledger))
    with table_time_later(50):
        assert 1 == send_backlog(Sender(ledger))


def test_an_email_that_was_put_off_because_its_run_only_waits_is_sent(world: World, ledger: FileLedger) -> None:
    in_backlog(world, ledger, "put-off")
    [due] = ledger.due_emails()
    assert ledger.taken_up(due, counts=False)
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

    def claimed(email_id: str, _files: Sequence[FileReport]) -> str:
        raise EmailClaimedElsewhereError(email_id, "a minute")

    assert 0 == send_backlog(claimed)
    assert {StateType.SCHEDULED} == {state_of(run_id) for run_id in runs}


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
