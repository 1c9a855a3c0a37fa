"""One email about files that were dealt with. This module imports no pandas: each run pays for its imports."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any, Final

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.flow_runs import pause_flow_run
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for
from pydantic import Field

from blocks.domain.limits import PAUSE_TIMEOUT_SLACK_SECONDS
from blocks.domain.models import FileReport
from blocks.domain.names import NOTIFY_FLOW
from blocks.saved_blocks import run_blocks
from flows.notification.email import Email, compose_email
from flows.recovery.failures import retry_condition
from flows.report import email_run_name

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

RESUME_AGAIN_SECONDS: Final = 5.0
"""Between two tries to resume a run that is paused in this process: the server may be restarting."""

LEDGER_CALLS_AT_ONCE: Final = 8
"""Concurrent calls to the ledger; one email covers up to 500 files."""


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
) -> str:
    """The ids that SES gave the messages of the email, or `sent before`."""
    if pause_seconds:
        _pause_in_this_process(pause_seconds)
    unnotified = find_unnotified(files)
    if not unnotified:
        return "sent before"
    messages = send_emails(unnotified)
    if any(message.is_completed() for message in messages):
        mark_notified(unnotified)  # also if some messages failed: the next sweep would send the others again
    return ", ".join([message.result() for message in messages])


@task(task_run_name="find unnotified files", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def find_unnotified(files: list[FileReport]) -> list[FileReport]:
    """The files about which no email was sent before: as a rule all of them.

    The first file is marked first, so its mark stands for all. A run that is started again after its process died finds
    its own mark there, marks the rest, and sends nothing. If another run has marked the first file, a sweep took the
    ingest run for stalled: the files that it has sent an email about are left out.
    """
    ledger, log = run_blocks().file_ledger, get_run_logger()
    known = _in_the_ledger(files)
    notified_by = ledger.notifying_run(known[0]) if known else None
    if notified_by is None:
        return files
    if notified_by == flow_run.id:
        log.info("The email about these files was sent before.")
        mark_notified.fn(files)
        return []
    with ThreadPoolExecutor(LEDGER_CALLS_AT_ONCE) as pool:
        runs = zip(known, pool.map(ledger.notifying_run, known), strict=True)
        notified = {file.uri for file, run in runs if run is not None}
    log.info("An email about %d of the %d files was sent before.", len(notified), len(files))
    return [file for file in files if file.uri not in notified]


def send_emails(files: list[FileReport]) -> "list[State[str]]":
    """The final state of each message; its result is the id from SES.

    SES takes 50 recipients per message, so there may be several. Each message is a task run of its own: if one fails,
    it alone is retried.
    """
    email = compose_email(files, _pages())
    groups = run_blocks().mailer.groups()
    return [
        send_email.with_options(task_run_name="email" if len(groups) == 1 else f"email {number} of {len(groups)}")(
            email, group, return_state=True
        )
        for number, group in enumerate(groups, start=1)
    ]


@task(cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60], retry_condition_fn=retry_condition)
def send_email(email: Email, recipients: list[str]) -> str:
    """The id that SES gave the message."""
    message_id = run_blocks().mailer.send(email.subject, email.text, email.html, email.pictures, recipients=recipients)
    get_run_logger().info("Email sent: %s (SES message %s)", email.subject, message_id)
    return message_id


def _pages() -> list[tuple[str, str]]:
    """Titles and addresses of pages in the Prefect UI; none if the server has no UI."""
    # For an email that a sweep created, the parent is the sweep.
    runs = {"The run that created this email": flow_run.parent_flow_run_id, "The run that sent this email": flow_run.id}
    addresses = {title: url_for("flow-run", obj_id=run_id) for title, run_id in runs.items() if run_id}
    return [(title, address) for title, address in addresses.items() if address]


@task(task_run_name="mark as notified", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def mark_notified(files: list[FileReport]) -> None:
    """Mark the ledger entries of the files: an email about them was sent."""
    mark = partial(run_blocks().file_ledger.mark_notified, by=str(flow_run.id))
    known = _in_the_ledger(files)
    for first in known[:1]:
        mark(first)  # `find_unnotified` reads this mark for all of them
    with ThreadPoolExecutor(LEDGER_CALLS_AT_ONCE) as pool:
        list(pool.map(mark, known[1:]))


def _in_the_ledger(files: list[FileReport]) -> list[FileReport]:
    """The files whose ledger entry belongs to their ingest run; a failed load leaves no settled entry to mark."""
    return [file for file in files if file.version and file.flow_run_id]


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
