"""Emails that are overdue: the run that was to collect for them, or to send them, is gone or was never started."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Scheduled

from blocks.domain.errors import DeploymentMissingError
from blocks.domain.models import FileReport, Notification
from blocks.domain.names import NOTIFY_FLOW, deployment_name
from blocks.file_ledger import FileLedger
from blocks.file_ledger.emails import OutboxEmail, Version
from blocks.runtime import runtime
from flows.notification.run_parameters import fit_into_parameters
from flows.report import email_run_name

EMAILS_PER_LOOK: Final = 100
"""The most overdue emails that are dealt with at once; the next look goes on."""

BEGINS_WITHIN: Final = timedelta(seconds=60)
"""How long after its start a run claims its email: it does so first of all. One that is later finds it claimed."""

Send = Callable[[Sequence[FileReport], str], Notification]
"""Starts a run that sends the email of that id about these files."""


@dataclass
class OverdueEmails:
    """What was done about overdue emails."""

    resumed: list[str] = field(default_factory=list)
    """Names of the paused runs that were resumed."""
    notifications: list[Notification] = field(default_factory=list)
    """The runs that were started."""


def take_up_overdue_emails(ledger: FileLedger, send: Send) -> OverdueEmails:
    """What was done about the emails that are due and not being sent. The failure of one of them stops no other.

    Raises:
        TransportError: the Prefect server cannot be reached; the emails stay due.
        PrefectHTTPStatusError: its database cannot be reached; they stay due.
    """
    done = OverdueEmails()
    emails = list(ledger.due_emails(EMAILS_PER_LOOK))
    if not emails:
        return done
    with get_client(sync_client=True) as client:
        _ask_server(client)
        for email in emails:
            try:
                _take_up(email, ledger, client, send, done)
            except Exception as error:  # noqa: BLE001 - one email must not stop the others
                _ask_server(client)
                runtime().log().warning("the overdue email %s is tried again later: %s", email.email_id, error)
                with suppress(Exception):
                    ledger.take_up_email(email, counts=True)
    return done


def _ask_server(client: SyncPrefectClient) -> None:
    """Raise what the client raises while the server is away: then no email is put off."""
    with suppress(ObjectNotFound):
        client.read_deployment_by_name(deployment_name(NOTIFY_FLOW))


def send_by_deployment(reports: Sequence[FileReport], email_id: str) -> Notification:
    """The run of the `notify` deployment that sends the email about these files at once.

    Raises:
        DeploymentMissingError: the server has no such deployment.
    """
    files, due_at = fit_into_parameters(reports), runtime().utc_now()
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment_name(NOTIFY_FLOW))
        except ObjectNotFound as error:
            raise DeploymentMissingError(deployment_name(NOTIFY_FLOW)) from error
        run = client.create_flow_run_from_deployment(
            found.id,
            parameters={"files": [file.model_dump(mode="json") for file in files], "email_id": email_id},
            state=Scheduled(scheduled_time=due_at),
            name=email_run_name([file.name for file in files]),
        )
    return Notification(flow_run_id=str(run.id), flow_run_name=run.name, state=run.state_name or "?", due_at=due_at)


def _take_up(
    email: OutboxEmail, ledger: FileLedger, client: SyncPrefectClient, send: Send, done: OverdueEmails
) -> None:
    if email.state == "collecting":
        _make_of_what_is_settled(email, ledger)
        return
    run = _run_of(email, client)
    if run and _will_send(run, email):
        if ledger.take_up_email(email, counts=False) is None or run.state_type != StateType.PAUSED:
            return
        if _resumed(run, client):
            done.resumed.append(run.name)
            return
    elif ledger.take_up_email(email, counts=True) is None:
        return
    if run and run.state_type == StateType.RUNNING and email.is_claimed_by(str(run.id)):  # its lease has expired
        client.set_flow_run_state(run.id, Crashed(message="its process is gone; its email is taken up"))
    runtime().log().warning("the email %s is overdue, and no run will send it: a run is started", email.email_id)
    notification = send(_reports(email, ledger, run), email.email_id)
    ledger.assign_run(email.email_id, notification.flow_run_id)
    done.notifications.append(notification)


def _resumed(run: FlowRun, client: SyncPrefectClient) -> bool:
    """Whether the paused run goes on now; the server refuses it if its deployment was deleted, for example."""
    runtime().log().warning("%s is paused, and its email is overdue: it is resumed", run.name)
    result = client.resume_flow_run(run.id)
    return result.status == SetStateStatus.ACCEPT


def _make_of_what_is_settled(email: OutboxEmail, ledger: FileLedger) -> None:
    """Have the email wait for its time, with the files that its ingest run had settled when it died.

    Its other files are loaded by other runs, which have emails of their own. A run that still holds a file lives.
    """
    run_id = email.flow_run_id or ""
    # First nothing that the run has sent may succeed any more: what it has settled is then known for good.
    disowned = [ledger.disown(bucket, key, run_id) for bucket, key, _ in email.files]
    if not all(disowned):
        ledger.take_up_email(email, counts=False)
        return
    reports = ledger.reports_of(email)
    if ledger.make_email(email, reports):
        message = "the run that collected for the email %s has died: %d files"
        runtime().log().warning(message, email.email_id, len(reports))


def _run_of(email: OutboxEmail, client: SyncPrefectClient) -> FlowRun | None:
    """The run that is to send the email; None if there is none, or the server has forgotten it."""
    try:
        return client.read_flow_run(UUID(email.flow_run_id)) if email.flow_run_id else None
    except (ObjectNotFound, ValueError):  # the latter for text that is no run id
        return None


def _will_send(run: FlowRun, email: OutboxEmail) -> bool:
    """Whether the run may still send the email. If it does so after all, it finds the email claimed or sent.

    A run that has claimed it does not: its lease has expired, so it has died or stands still.
    """
    if run.state is None or run.state_type in TERMINAL_STATES:
        return False
    if run.state_type == StateType.SCHEDULED:
        return run.deployment_id is None or run.work_queue_id is not None  # else its work queue was deleted
    if run.state_type != StateType.RUNNING:
        return True
    begins = runtime().utc_now() - run.state.timestamp < BEGINS_WITHIN
    return begins and not email.is_claimed_by(str(run.id))


def _reports(email: OutboxEmail, ledger: FileLedger, run: FlowRun | None) -> list[FileReport]:
    """The reports of the email: those that the earlier run has, or the entries of the ledger."""
    with suppress(ValueError):  # a person may have started a run with other parameters
        if run and (files := run.parameters.get("files")):
            return [FileReport.model_validate(each) for each in files]
    entries: dict[Version, FileReport] = {
        (entry.bucket, entry.key, entry.version): entry for entry in ledger.reports_of(email)
    }
    return [entries.get(version) or _report_lost(version) for version in email.files]


def _report_lost(version: Version) -> FileReport:
    bucket, key, _ = version
    problem = "it could not be loaded; the run that knew why has died. If it is in incoming/, it is tried again"
    return FileReport(bucket=bucket, key=key, status="failed", problem=problem)
