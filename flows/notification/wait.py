"""The wait between loading and email: a paused subflow, which holds no process.

Under a deployment the subflow is created Paused, and an automation resumes it. A server that refuses the paused run or
the automation gets a scheduled run, for the same time. Without a deployment no worker could run it later, so the
subflow pauses in the process that called the flow.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.actions import ResumeFlowRun
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import deployment, flow_run
from prefect.states import Paused, Pending, Scheduled
from prefect.tasks import Task

from blocks.domain.limits import PAUSE_TIMEOUT_SLACK_SECONDS
from blocks.domain.models import FileReport, Notification
from blocks.domain.names import NOTIFY_FLOW, deployment_name
from blocks.file_ledger.emails import version_of
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.notification.collecting import EmailCollection
from flows.notification.run_parameters import fit_into_parameters
from flows.report import email_run_name

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.flows import Flow

    NotifyFlow = Flow[[list[FileReport], float, str | None], str]

SHORTEST_PAUSE_SECONDS: Final = 10.0
"""A proactive automation cannot wait for less: the server answers 422. Source: Prefect 3.9, `EventTrigger.within`."""

STATES_AFTER_PAUSED: Final = frozenset(
    f"prefect.flow-run.{state}"
    for state in (
        "Scheduled",
        "Resuming",
        "Pending",
        "Running",
        "Cancelling",
        "Cancelled",
        "Completed",
        "Failed",
        "Crashed",
    )
)


def notify_later(
    reports: Sequence[FileReport], wait_seconds: float, notify: "NotifyFlow", email: EmailCollection
) -> Notification | None:
    """The run that will email about these files after `wait_seconds`; until then it has no process.

    None if there are no reports, or if an email about all of them was made before: this run was taken for dead.

    Args:
        reports: what became of each file.
        wait_seconds: the wait; 0 means at once.
        email: the email of the outbox that this run has collected for.
        notify: the flow that emails. It runs in this process, and this call waits for it, where no deployment of it
            could run it later.
    """
    email_id, uncovered = email(), email.uncovered(reports)
    email.close()  # it may wait for ten minutes in this very process
    ledger = run_blocks().file_ledger
    waiting = ledger.finish_collecting(email_id, uncovered, timedelta(seconds=wait_seconds))
    if waiting is None:
        return None
    if waiting != email_id:  # the email was made at this moment, and another one is about the rest
        files = ledger.email(waiting).files
        uncovered = [each for each in uncovered if version_of(each) in files]
    return send_later(uncovered, wait_seconds, notify, waiting)


def send_later(reports: Sequence[FileReport], wait_seconds: float, notify: "NotifyFlow", email_id: str) -> Notification:
    """As `notify_later`, for an email that is in the outbox with its files."""
    due_at = datetime.now(UTC) + timedelta(seconds=wait_seconds)
    files = fit_into_parameters(reports)
    if not deployment.id:
        return _notify_in_this_process(notify, files, wait_seconds, due_at, email_id)
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment_name(NOTIFY_FLOW))
        except ObjectNotFound:
            runtime().log().warning(
                "There is no deployment %s (`sensor-ingest deploy` makes it): this process waits and sends the email.",
                deployment_name(NOTIFY_FLOW),
            )
            return _notify_in_this_process(notify, files, wait_seconds, due_at, email_id)
        child = _create_subflow(client, found, files, wait_seconds, due_at, email_id)
    run_blocks().file_ledger.assign_run(email_id, str(child.id))
    state = child.state_name or "?"
    runtime().log().info("The email about the files is due at %s: subflow %s, %s.", due_at, child.name, state)
    return Notification(flow_run_id=str(child.id), flow_run_name=child.name, state=state, due_at=due_at)


def ensure_resume_automation(client: SyncPrefectClient, wait_seconds: float) -> str:
    """The name of the automation that resumes runs after this wait; it is created if it does not exist yet.

    It matches the tag of such runs, and fires when a run was paused and has not left that state within the wait.
    """
    tag = wait_tag(wait_seconds)
    name = f"sensor-ingest: resume {tag}"
    if not client.read_automations_by_name(name):
        client.create_automation(
            AutomationCore(
                name=name,
                description="Resumes the email about loaded files when its wait is over.",
                trigger=EventTrigger(
                    posture=Posture.Proactive,
                    match={"prefect.resource.id": "prefect.flow-run.*"},
                    match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
                    for_each={"prefect.resource.id"},
                    after={"prefect.flow-run.Paused"},
                    expect=set(STATES_AFTER_PAUSED),
                    threshold=1,
                    within=timedelta(seconds=wait_seconds),
                ),
                actions=[ResumeFlowRun()],
            )
        )
    return name


def wait_tag(wait_seconds: float) -> str:
    """The tag of runs that wait so long, such as `notify-after-600s`."""
    return f"notify-after-{wait_seconds:.10g}s"


def _create_subflow(  # noqa: PLR0917 - private, and called once
    client: SyncPrefectClient,
    notify_deployment: "DeploymentResponse",
    files: list[FileReport],
    wait_seconds: float,
    due_at: datetime,
    email_id: str,
) -> "FlowRun":
    """A run of `notify`, linked to this run as its subflow. It is idempotent: each attempt of this run has one."""

    def create(state: "State[None]") -> "FlowRun":
        return client.create_flow_run_from_deployment(
            notify_deployment.id,
            parameters={"files": [file.model_dump(mode="json") for file in files], "email_id": email_id},
            state=state,
            name=email_run_name([file.name for file in files]),
            tags=[wait_tag(wait_seconds)],
            idempotency_key=f"notify-{email_id}-{flow_run.id}",
            parent_task_run_id=placeholder.id,
        )

    # What `run_deployment(as_subflow=True)` does in Prefect 3.9, whose runs are always created Scheduled.
    placeholder = client.create_task_run(
        task=Task(fn=lambda: None, name=deployment_name(NOTIFY_FLOW)),
        flow_run_id=flow_run.id,
        dynamic_key=NOTIFY_FLOW,
        state=Pending(),
    )
    if wait_seconds < SHORTEST_PAUSE_SECONDS:
        return create(Scheduled(scheduled_time=due_at))
    try:
        ensure_resume_automation(client, wait_seconds)
        return create(Paused(timeout_seconds=int(wait_seconds) + PAUSE_TIMEOUT_SLACK_SECONDS, reschedule=True))
    except PrefectHTTPStatusError as error:
        if error.response.is_server_error:
            raise
        problem = "This server refuses a paused run, or the automation that resumes it (%s): the email is scheduled."
        runtime().log().warning(problem, error)
        return create(Scheduled(scheduled_time=due_at))


def _notify_in_this_process(
    notify: "NotifyFlow", files: list[FileReport], wait_seconds: float, due_at: datetime, email_id: str
) -> Notification:
    state = notify(files, wait_seconds, email_id, return_state=True)
    run_id = state.state_details.flow_run_id
    return Notification(
        flow_run_id=str(run_id),
        flow_run_name=email_run_name([file.name for file in files]),
        state=state.name or state.type.value,
        due_at=due_at,
    )
