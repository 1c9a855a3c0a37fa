"""Emails that are overdue while all run slots for emails are taken: a run that has a slot sends them, too.

Each start of a run costs the Prefect server, which is one process, more than half a second. So a thousand emails that
are due at once, as after a day without a worker, would take a quarter of an hour if each was sent by the run that waits
for it.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import ValidationError

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.models import FileReport
from blocks.file_ledger.emails import OutboxEmail
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks

SENDS_FOR_SECONDS: Final = 60.0
"""After so long a run begins no other email; then its slot is free for a run whose start costs little beside it."""

EMAILS_READ: Final = 20
"""Emails that are read at once. After each lot, it is asked anew whether a person has paused the emails."""

Send = Callable[[str, list[FileReport], FlowRun], str | None]
"""Sends the email of that id about these files, in place of that run; None if it was sent before."""


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
    ledger, is_paused, sent = run_blocks().file_ledger, cache(partial(_is_paused, client)), 0
    emails = list(ledger.email_backlog(EMAILS_READ))
    for email in sorted(emails, key=lambda _: runtime().uniform(0, 1)):  # another run may go through the same ones
        if runtime().monotonic() >= until:
            break
        run = _waiting_run(email, client)
        if run is None or is_paused(run.work_queue_id, run.work_pool_name):
            continue
        if ledger.email(email.email_id).is_untried:
            with suppress(EmailClaimedElsewhereError):
                sent += _send_for(run, client, send)
    return sent


def _waiting_run(email: OutboxEmail, client: SyncPrefectClient) -> FlowRun | None:
    """The run that is to send the email, if it waits for its start. A paused one is resumed first, by others."""
    try:
        run = client.read_flow_run(UUID(email.flow_run_id or ""))
    except (ObjectNotFound, ValueError):  # the latter for text that is no run id
        return None
    waits = run.state_type == StateType.SCHEDULED and run.parameters.get("email_id") == email.email_id
    return run if waits else None


def _is_paused(client: SyncPrefectClient, queue: UUID | None, pool: str | None) -> bool:
    """Whether a person has paused the work queue, or its pool: then no email is to be sent."""
    return bool((queue and client.read_work_queue(queue).is_paused) or (pool and client.read_work_pool(pool).is_paused))


def _send_for(run: FlowRun, client: SyncPrefectClient, send: Send) -> bool:
    """Whether the email of that run was sent now; not if its parameters, which a person may have set, are invalid."""
    try:
        files = [FileReport.model_validate(each) for each in run.parameters["files"]]
    except (KeyError, TypeError, ValidationError):
        return False
    message_ids = send(run.parameters["email_id"], files, run) if files else None
    if message_ids is None:
        return False
    runtime().log().info("%s had not begun, and its email was overdue: this run has sent it", run.name)
    sender = f"{flow_run.name} ({runtime().flow_run_id()})"
    completed: State[None] = Completed(message=f"Its email was sent by the run {sender}: {message_ids}")
    client.set_flow_run_state(run.id, completed)
    return True
