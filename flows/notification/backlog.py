"""Emails that are due while all run slots for emails are taken: a run that has a slot sends them, too.

Each start of a run costs the Prefect server, which is one process, more than half a second. So a thousand emails that
are due at once, as after an outage, would take a quarter of an hour if each was sent by the run that waits for it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import ValidationError

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.models import FileReport
from blocks.file_ledger.emails import OutboxEmail
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks

SENDS_FOR_SECONDS: Final = 60.0
"""How long a run sends emails of others; then its slot is free for another one, whose start costs little beside it."""

EMAILS_READ: Final = 50

Send = Callable[[str, list[FileReport]], str | None]
"""Sends the email of that id about these files; None if it was sent before."""


def send_backlog(send: Send) -> int:
    """The number of emails that were sent in place of runs that wait for a slot; those runs are Completed then.

    An email that fails is left to its own run, and so are all others: SES may take no more.
    """
    sent, until = 0, runtime().monotonic() + SENDS_FOR_SECONDS
    try:
        with get_client(sync_client=True) as client:
            while some := _send_some(client, send, until):
                sent += some
    except Exception as error:  # noqa: BLE001 - the email of this run is sent, whatever becomes of the others
        runtime().log().warning("emails of other runs are left to them: %s", error)
    return sent


def _send_some(client: SyncPrefectClient, send: Send, until: float) -> int:
    emails = list(run_blocks().file_ledger.email_backlog(EMAILS_READ))
    sent = 0
    for run in _waiting_runs(client, emails):
        if runtime().monotonic() < until:
            with suppress(EmailClaimedElsewhereError):
                sent += _send_for(run, client, send)
    return sent


def _waiting_runs(client: SyncPrefectClient, emails: Sequence[OutboxEmail]) -> list[FlowRun]:
    """The runs that have not begun and are to send these emails, in any order: another run may go through the same."""
    emails_of = dict[UUID, str]()
    for email in emails:
        with suppress(ValueError):  # it has no run, or text that is no run id
            emails_of[UUID(email.flow_run_id or "")] = email.email_id
    if not emails_of:
        return []
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(emails_of))))
    waiting = [
        run
        for run in runs
        if run.state_type in (StateType.PAUSED, StateType.SCHEDULED)
        and run.parameters.get("email_id") == emails_of[run.id]
    ]
    return sorted(waiting, key=lambda _: runtime().uniform(0, 1))


def _send_for(run: FlowRun, client: SyncPrefectClient, send: Send) -> bool:
    """Whether the email of that run was sent now; not if its parameters, which a person may have set, are invalid."""
    try:
        files = [FileReport.model_validate(each) for each in run.parameters["files"]]
    except (KeyError, TypeError, ValidationError):
        return False
    message_ids = send(run.parameters["email_id"], files)
    if message_ids is None:
        return False
    runtime().log().info("%s waits for a slot, and its email was overdue: this run has sent it", run.name)
    sender = f"{flow_run.name} ({runtime().flow_run_id()})"
    completed: State[None] = Completed(message=f"Its email was sent by the run {sender}: {message_ids}")
    client.set_flow_run_state(run.id, completed, force=True)  # also if its pause has timed out by now
    return True
