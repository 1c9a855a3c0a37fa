"""One email about the files of an ingest run. It imports no pandas: every run pays for what its module imports."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Timer
from typing import Annotated, Any, Final

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.flow_runs import pause_flow_run
from prefect.runtime import flow_run
from pydantic import Field

from flows.environment import environment
from flows.models import FileReport
from flows.report import email_text, headline, run_title

NOTIFY_DEPLOYMENT: Final = "notify/notify"

SLACK_SECONDS: Final = 600
"""How much later than the wait a pause in this process times out, which would fail the run."""

NOTES_AT_ONCE: Final = 8
"""Calls to the ledger at the same time; one email may be about 500 files."""


def _run_name() -> str:
    """`email about sensors.csv`, from the parameters as they came: Prefect asks before it validates them."""
    files: list[Any] = flow_run.parameters["files"]
    return f"email about {run_title([FileReport.model_validate(file).name for file in files])}"


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
    if was_sent(files):
        return "sent before"
    message_id = email_report(files)
    note_notified(files)
    return message_id


@task(task_run_name="look whether it was sent", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def was_sent(files: list[FileReport]) -> bool:
    """Whether the email about these files went out before; what it left to be noted in the ledger is noted now.

    A run that is begun again, because its process died or the sweep took it for dead, finds itself here. The first file
    is noted first, so it tells for all of them.
    """
    known = [file for file in files if file.version]
    if not known or not environment().file_ledger.is_noted_as_told(known[0]):
        return False
    get_run_logger().info("The email about these files was sent before.")
    note_notified.fn(files)
    return True


@task(task_run_name="email", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def email_report(files: list[FileReport]) -> str:
    """The id that SES gave the email, which goes to all recipients of the mailer block."""
    subject = headline(files)
    message_id = environment().mailer.send(subject, email_text(files))
    get_run_logger().info("Email sent: %s (SES message %s)", subject, message_id)
    return message_id


@task(task_run_name="note in the ledger", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 60])
def note_notified(files: list[FileReport]) -> None:
    """Note in the ledger, for each file that it knows, that people have been told."""
    ledger = environment().file_ledger
    known = [file for file in files if file.version]
    for first in known[:1]:
        ledger.note_notified(first)  # it tells for all of them whether the email went out
    with ThreadPoolExecutor(NOTES_AT_ONCE) as pool:
        list(pool.map(ledger.note_notified, known[1:]))


def _pause_in_this_process(seconds: float) -> None:
    """Paused, as the Prefect UI shows it, until the Resume button is pressed or the time is over."""
    run_id = flow_run.id

    def resume() -> None:
        with get_client(sync_client=True) as client:
            client.resume_flow_run(run_id)

    timer = Timer(seconds, copy_context().run, args=(resume,))  # the context knows which server this run belongs to
    timer.daemon = True
    timer.start()
    try:
        pause_flow_run(timeout=int(seconds) + SLACK_SECONDS, poll_interval=1)
    finally:
        timer.cancel()
