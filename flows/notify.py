"""One email about the files of an ingest run. It imports no pandas: every run pays for what its module imports."""

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

from blocks.domain.errors import AddressUnverifiedError, MailQuotaError, PermissionMissingError
from blocks.domain.limits import PAUSE_TIMEOUT_SLACK_SECONDS
from blocks.domain.models import FileReport
from flows.environment import environment
from flows.report import Letter, email_run_name, letter_about

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

NOTIFY_DEPLOYMENT: Final = "notify/notify"

RESUME_AGAIN_SECONDS: Final = 5.0
"""Between two tries to end a pause in this process: a server that is started again would leave it paused for days."""

NOTES_AT_ONCE: Final = 8
"""Calls to the ledger at the same time; one email may be about 500 files."""


def _run_name() -> str:
    """`email about sensors.csv`, from the parameters as they came: Prefect asks before it validates them."""
    files: list[Any] = flow_run.parameters["files"]
    return email_run_name([FileReport.model_validate(file).name for file in files])


@flow(name="notify", description="Email what became of the files of one ingest run.", flow_run_name=_run_name)
def notify(
    files: Annotated[list[FileReport], Field(min_length=1, description="What became of each file.")],
    pause_seconds: Annotated[
        float, Field(ge=0, description="Seconds to pause in this process first; 0 for a run that was created paused.")
    ] = 0,
) -> str:
    """The id that SES gave the email."""
    if pause_seconds:
        _pause_in_this_process(pause_seconds)
    news = not_told_before(files)
    if not news:
        return "sent before"
    messages = email_report(news)
    if any(message.is_completed() for message in messages):
        note_notified(news)  # also if some recipients could not be reached: the next sweep would mail the others again
    return ", ".join([message.result() for message in messages])


@task(task_run_name="look whether it was sent", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def not_told_before(files: list[FileReport]) -> list[FileReport]:
    """The files that no email was about before: all, as a rule.

    A run that is begun again, because its process died, finds its own note at the first file, which is noted first, so
    it tells for all of them; what was left to be noted is noted now. A sweep that took the ingest run for dead may have
    told of some of its files; those are left out.
    """
    ledger, log = environment().file_ledger, get_run_logger()
    known = _in_the_ledger(files)
    teller = ledger.told_by(known[0]) if known else None
    if teller is None:
        return files
    if teller == flow_run.id:
        log.info("The email about these files was sent before.")
        note_notified.fn(files)
        return []
    with ThreadPoolExecutor(NOTES_AT_ONCE) as pool:
        told = {file.uri for file, by in zip(known, pool.map(ledger.told_by, known), strict=True) if by is not None}
    log.info("An email about %d of the %d files was sent before.", len(told), len(files))
    return [file for file in files if file.uri not in told]


def email_report(files: list[FileReport]) -> "list[State[str]]":
    """How sending the email to all recipients of the mailer block went, message by message; each has the id from SES.

    One message has room for so many of them. Each message is a task run of its own: if one fails, the others go out all
    the same, and it alone is tried again.
    """
    letter = letter_about(files, _pages())
    groups = environment().mailer.groups()
    return [
        send_letter.with_options(task_run_name="email" if len(groups) == 1 else f"email {number} of {len(groups)}")(
            letter, group, return_state=True
        )
        for number, group in enumerate(groups, start=1)
    ]


def _may_pass(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    final = (AddressUnverifiedError, MailQuotaError, PermissionMissingError)
    return not isinstance(state.result(raise_on_failure=False), final)


@task(cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60], retry_condition_fn=_may_pass)
def send_letter(letter: Letter, recipients: list[str]) -> str:
    """The id that SES gave this message."""
    message_id = environment().mailer.send(
        letter.subject, letter.text, letter.html, letter.pictures, recipients=recipients
    )
    get_run_logger().info("Email sent: %s (SES message %s)", letter.subject, message_id)
    return message_id


def _pages() -> list[tuple[str, str]]:
    """Pages in the Prefect UI that tell more, by title; none of a server that has no UI."""
    runs = {"The run that loaded the files": flow_run.parent_flow_run_id, "The run that sent this email": flow_run.id}
    addresses = {title: url_for("flow-run", obj_id=run_id) for title, run_id in runs.items() if run_id}
    return [(title, address) for title, address in addresses.items() if address]


@task(task_run_name="note in the ledger", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def note_notified(files: list[FileReport]) -> None:
    """Note in the ledger, for each file that it knows, that people have been told."""
    note = partial(environment().file_ledger.note_notified, by=str(flow_run.id))
    known = _in_the_ledger(files)
    for first in known[:1]:
        note(first)  # it tells for all of them whether the email went out
    with ThreadPoolExecutor(NOTES_AT_ONCE) as pool:
        list(pool.map(note, known[1:]))


def _in_the_ledger(files: list[FileReport]) -> list[FileReport]:
    """Those that have an entry of their ingest run; a load that failed leaves none that could be noted."""
    return [file for file in files if file.version and file.flow_run_id]


def _pause_in_this_process(seconds: float) -> None:
    """Paused, as the Prefect UI shows it, until the Resume button is pressed or the time is over."""
    run_id, over = flow_run.id, Event()

    def resume() -> None:
        until_then: float = seconds
        while not over.wait(until_then):
            with suppress(Exception), get_client(sync_client=True) as client:  # the server may be away for a while
                client.resume_flow_run(run_id)
            until_then = RESUME_AGAIN_SECONDS

    context = copy_context()  # it knows which server this run belongs to
    Thread(target=context.run, args=(resume,), name="resumes the email", daemon=True).start()
    try:
        pause_flow_run(timeout=int(seconds) + PAUSE_TIMEOUT_SLACK_SECONDS, poll_interval=1)
    finally:
        over.set()
