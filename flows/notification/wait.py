"""The wait between loading and email: a subflow that is paused, so that nothing runs while nothing happens.

Three ways, one behaviour. Under a deployment the subflow is created paused, and an automation resumes it. Where a
server takes no run that is created paused, it is scheduled for the same moment. Without a deployment there is no worker
that could run it later, so it pauses in the process that called the flow.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.actions import ResumeFlowRun
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import deployment, flow_run
from prefect.states import Paused, Pending, Scheduled
from prefect.tasks import Task

from blocks.domain.limits import PAUSE_TIMEOUT_SLACK_SECONDS
from blocks.domain.models import FileReport, Notification
from flows.notify import NOTIFY_DEPLOYMENT, notify
from flows.report import email_run_name, within_parameters

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse

SHORTEST_PAUSE_SECONDS: Final = 10.0
"""A proactive automation can not wait for less. Source: Prefect 3.8, `EventTrigger.within`."""

_TAG_START: Final = "notify-after-"

LEAVING_THE_PAUSE: Final = frozenset(
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


def notify_later(reports: Sequence[FileReport], wait_seconds: float) -> Notification:
    """The run that will email about these files once `wait_seconds` have passed; nothing of it is running until then.

    Called without a deployment it returns when the email has been sent, since there is nobody else to send it.
    """
    due_at = datetime.now(UTC) + timedelta(seconds=wait_seconds)
    files = within_parameters(reports)
    if not deployment.id:
        return _notify_in_this_process(files, wait_seconds, due_at)
    with get_client(sync_client=True) as client:
        try:
            target = client.read_deployment_by_name(NOTIFY_DEPLOYMENT)
        except ObjectNotFound:
            get_run_logger().warning(
                "There is no deployment %s (`prefect deploy --all` makes it), so this process stays to wait and email.",
                NOTIFY_DEPLOYMENT,
            )
            return _notify_in_this_process(files, wait_seconds, due_at)
        child = _create_subflow(client, target, files, wait_seconds, due_at)
    state = child.state_name or "?"
    get_run_logger().info("The email about the files is due at %s: subflow %s, %s.", due_at, child.name, state)
    return Notification(flow_run_id=str(child.id), flow_run_name=child.name, state=state, due_at=due_at)


def ensure_resume_automation(client: SyncPrefectClient, wait_seconds: float) -> str:
    """The name of the automation that resumes runs paused for that long; made if it is not there yet.

    It watches for the tag that such runs carry: paused, and not out of it again within the wait.
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
                    expect=set(LEAVING_THE_PAUSE),
                    threshold=1,
                    within=timedelta(seconds=wait_seconds),
                ),
                actions=[ResumeFlowRun()],
            )
        )
    return name


def wait_tag(wait_seconds: float) -> str:
    """The tag of runs that are paused for that long, such as `notify-after-600s`."""
    return f"{_TAG_START}{wait_seconds:.10g}s"


def wait_of(tags: Iterable[str]) -> timedelta | None:
    """How long a run with these tags is paused; None if none of them says so."""
    for tag in tags:
        if tag.startswith(_TAG_START):
            with suppress(ValueError):
                return timedelta(seconds=float(tag.removeprefix(_TAG_START).removesuffix("s")))
    return None


def _create_subflow(
    client: SyncPrefectClient,
    target: "DeploymentResponse",
    files: list[FileReport],
    wait_seconds: float,
    due_at: datetime,
) -> "FlowRun":
    """A run of `notify`, linked to this one as its subflow; the same one however often this run asks for it."""

    def create(state: "State[None]") -> "FlowRun":
        return client.create_flow_run_from_deployment(
            target.id,
            parameters={"files": [file.model_dump(mode="json") for file in files]},
            state=state,
            name=email_run_name([file.name for file in files]),
            tags=[wait_tag(wait_seconds)],
            idempotency_key=f"notify-{flow_run.id}-{flow_run.run_count}",  # a run that is retried has news of its own
            parent_task_run_id=placeholder.id,
        )

    # What `run_deployment(as_subflow=True)` does in Prefect 3.8, which can not create a run in another state.
    placeholder = client.create_task_run(
        task=Task(fn=lambda: None, name=NOTIFY_DEPLOYMENT),
        flow_run_id=flow_run.id,
        dynamic_key="notify",
        state=Pending(),
    )
    if wait_seconds < SHORTEST_PAUSE_SECONDS:
        return create(Scheduled(scheduled_time=due_at))
    ensure_resume_automation(client, wait_seconds)
    try:
        return create(Paused(timeout_seconds=int(wait_seconds) + PAUSE_TIMEOUT_SLACK_SECONDS, reschedule=True))
    except PrefectHTTPStatusError as error:
        if error.response.is_server_error:
            raise
        get_run_logger().warning("This server creates no paused runs (%s): the email is scheduled instead.", error)
        return create(Scheduled(scheduled_time=due_at))


def _notify_in_this_process(files: list[FileReport], wait_seconds: float, due_at: datetime) -> Notification:
    state = notify(files, pause_seconds=wait_seconds, return_state=True)
    run_id = state.state_details.flow_run_id
    return Notification(
        flow_run_id=str(run_id),
        flow_run_name=email_run_name([file.name for file in files]),
        state=state.name or state.type.value,
        due_at=due_at,
    )
