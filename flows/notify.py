"""One email about files that were dealt with. This module imports no pandas: each run pays for its imports."""

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from threading import Event, Thread
from typing import Annotated, Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.flow_runs import pause_flow_run
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for
from pydantic import Field

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.limits import PAUSE_TIMEOUT_SLACK_SECONDS
from blocks.domain.models import FileReport
from blocks.domain.names import NOTIFY_FLOW
from blocks.file_ledger.outbox import ClaimedEmail
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.notification.backlog import send_backlog
from flows.notification.collecting import email_kept
from flows.notification.email import Email, compose_email
from flows.recovery.retry_policy import retry_condition, retry_condition_if_not_done
from flows.report import email_run_name

RESUME_AGAIN_SECONDS: Final = 5.0
"""Between two tries to resume a run that is paused in this process: the server may be restarting."""

_RETRY_DELAYS: Final[dict[str, Any]] = {"retries": 3, "retry_delay_seconds": [2.0, 10.0, 60.0]}

_RETRIED: Final[dict[str, Any]] = {**_RETRY_DELAYS, "retry_condition_fn": retry_condition}


def _run_name() -> str:
    """`email about sensors.csv`, from the raw parameters: Prefect asks for the name before it validates them."""
    files: list[Any] = flow_run.parameters["files"]
    return email_run_name([FileReport.model_validate(file).name for file in files])


@flow(name=NOTIFY_FLOW, description="Email what became of the files of one ingest run.", flow_run_name=_run_name)
def notify(
    files: Annotated[list[FileReport], Field(min_length=1, description="What became of each file.")],
    pause_seconds: Annotated[
        float, Field(ge=0, description="Seconds to pause in this process first; 0 for a run that was created paused.")
    ] = 0,
    email_id: Annotated[
        str | None, Field(description="The email of the outbox; none for a run that version 0.1 created.")
    ] = None,
) -> str:
    """The ids that SES gave the messages of the email, or why there is none.

    A run of a deployment then sends emails whose own runs wait for a slot.

    Raises:
        Exception: SES did not take a message, or the ledger did not record it, for each after its retries. The email
            is tried again after a pause that doubles.
    """
    if pause_seconds:
        _pause_in_this_process(pause_seconds)
    try:
        message_ids = _claim_and_send(email_id or f"0.1-{flow_run.id}", files)
    except EmailClaimedElsewhereError as elsewhere:
        runtime().log().info("%s", elsewhere)
        return str(elsewhere)
    if message_ids is None:
        runtime().log().info("The email was sent before, by another run.")
    if _is_of_a_deployment():
        send_backlog(_claim_and_send)
    return message_ids or "sent before"


def _is_of_a_deployment() -> bool:
    """Whether this very run has a slot: not if it is a subflow in the process of its parent."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def _claim_and_send(email_id: str, files: list[FileReport], instead_of: FlowRun | None = None) -> str | None:
    """The ids that SES gave the messages of the email; None if it was sent before.

    Args:
        email_id: of the outbox.
        files: what became of each file.
        instead_of: the run that was to send it; this one, if it is none.

    Raises:
        EmailClaimedElsewhereError: another run is sending it.
        Exception: as `notify`.
    """
    name = instead_of.name if instead_of else "email"
    created_by = _parent_of(instead_of) if instead_of else flow_run.parent_flow_run_id
    claim = claim_email.with_options(task_run_name=_as_it_is(f"claim {name}"))
    claimed = claim(email_id, f"{runtime().flow_run_id()}-{runtime().unique_id()}", files)
    if claimed is None:
        return None
    with email_kept(claimed):
        return send_email(claimed, files, name, created_by)


def _as_it_is(name: str) -> Callable[[], str]:
    """The name of a task run. Prefect 3.9 formats one that is text, with its parameters, and files name these."""
    return lambda: name


def _parent_of(run: FlowRun) -> str | None:
    """The id of the run that created that one; None if it is no subflow, or is not known: it is only linked to."""
    if run.parent_task_run_id:
        with suppress(Exception), get_client(sync_client=True) as client:
            found = client.read_task_run(run.parent_task_run_id).flow_run_id
            return str(found) if found else None
    return None


@task(cache_policy=NO_CACHE, **_RETRIED)
def claim_email(email_id: str, claim_id: str, files: list[FileReport]) -> ClaimedEmail | None:
    """The email, which no other run sends while this one has it; None if it was sent before.

    The claim id comes from outside: a try whose answer was lost has claimed the email for the next one.

    Raises:
        EmailClaimedElsewhereError: another run is sending it; not retried.
    """
    blocks = run_blocks()
    return blocks.file_ledger.claim_email(email_id, claim_id, files, blocks.mailer.groups())


def send_email(claimed: ClaimedEmail, files: list[FileReport], name: str, created_by: str | None) -> str:
    """The ids that SES gave the messages, whose task runs have that name; the email links to the run that created it.

    SES takes 50 recipients per message, so there may be several. Each message is a task run of its own, and is recorded
    before the next: if one fails, the others are not sent again.
    """
    email = compose_email(files, _pages(created_by))
    groups = claimed.email.groups
    message_ids = [group.message_id for group in groups if group.message_id]
    failed: Exception | None = None
    for number, group in enumerate(groups):
        if group.message_id is None:
            message = name if len(groups) == 1 else f"{name} {number + 1} of {len(groups)}"
            try:
                send = send_message.with_options(task_run_name=_as_it_is(message))
                message_ids.append(message_id := send(email, list(group.recipients)))
                record = record_message.with_options(task_run_name=_as_it_is(f"record {message}"))
                record(claimed, group.recipients, message_id)
            except Exception as error:  # noqa: BLE001 - the other recipients get theirs
                failed = error
    if failed:
        run_blocks().file_ledger.put_off_email(claimed)
        raise failed
    return ", ".join(message_ids)


@task(cache_policy=NO_CACHE, **_RETRY_DELAYS, retry_condition_fn=retry_condition_if_not_done)
def send_message(email: Email, recipients: list[str]) -> str:
    """The id that SES gave the message.

    If SES may have taken it, this run does not send it again: the outbox has it sent again later, less and less often.
    """
    message_id = run_blocks().mailer.send(email.subject, email.text, email.html, email.pictures, recipients=recipients)
    runtime().log().info("Email sent: %s (SES message %s)", email.subject, message_id)
    return message_id


@task(cache_policy=NO_CACHE, **_RETRIED)
def record_message(claimed: ClaimedEmail, recipients: tuple[str, ...], message_id: str) -> None:
    """Record in the outbox that SES has taken the message; with the last one, that the email is sent."""
    run_blocks().file_ledger.record_message(claimed, recipients, message_id, by=runtime().flow_run_id())


def _pages(created_by: str | None) -> list[tuple[str, str]]:
    """Titles and addresses of pages in the Prefect UI; none if the server has no UI."""
    # An email that a sweep created links to the sweep.
    runs = {"The run that created this email": created_by, "The run that sent this email": flow_run.id}
    addresses = {title: url_for("flow-run", obj_id=run_id) for title, run_id in runs.items() if run_id}
    return [(title, address) for title, address in addresses.items() if address]


def _pause_in_this_process(seconds: float) -> None:
    """Pause this run until the Resume button is pressed or the time is over."""
    run_id, resumed = flow_run.id, Event()

    def resume() -> None:
        until_then: float = seconds
        while not resumed.wait(until_then):
            with suppress(Exception), get_client(sync_client=True) as client:  # the server may be restarting
                client.resume_flow_run(run_id)
            until_then = RESUME_AGAIN_SECONDS

    context = copy_context()  # it holds the address of the server
    Thread(target=context.run, args=(resume,), name="resumes the email", daemon=True).start()
    try:
        pause_flow_run(timeout=int(seconds) + PAUSE_TIMEOUT_SLACK_SECONDS, poll_interval=1)
    finally:
        resumed.set()
