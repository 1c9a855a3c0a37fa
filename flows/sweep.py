"""Makes loading certain: a sweep takes up what an event missed or a crash left behind.

The relay does most of it every few seconds. A sweep does the same without a relay, and lists the bucket besides.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from pydantic import Field

from blocks.domain.errors import SweepFailedError
from blocks.domain.limits import in_groups
from blocks.domain.models import FileReport, Notification, SensorFile, SweepReport
from blocks.domain.names import SWEEP_FLOW
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.events.file_arrivals import announce
from flows.notification.overdue import OverdueEmails, take_up_overdue_emails
from flows.notification.wait import send_later
from flows.notify import notify
from flows.recovery.due_files import announce_expected, take_up_due
from flows.recovery.run_slots import DeploymentSlots, Slots
from flows.recovery.silent_runs import cancel_runs_without_queue, end_runs, silent_runs
from flows.recovery.unannounced import find_unannounced

if TYPE_CHECKING:
    from prefect.tasks import Task

OLDER_THAN_SECONDS: Final = 900
"""Age from which a file in `incoming/` that was never announced is announced: an event takes seconds."""

SILENT_AFTER_SECONDS: Final = 900
"""Age of a run's last sign of life from which it counts as silent: runs that no worker started send one every 180 s.

Source: `PREFECT_FLOWS_HEARTBEAT_FREQUENCY`, settings reference of Prefect 3.9.
"""

FILES_PER_SWEEP: Final = 50_000
"""The most files that one sweep finds unannounced; the next sweep goes on. They take a minute or two."""

OlderThanSeconds = Annotated[
    float,
    Field(ge=0, description="Seconds that a file is in incoming/ before a sweep announces it, if nothing else has."),
]
SilentAfterSeconds = Annotated[
    float,
    Field(ge=0, description="Seconds without a sign of life after which a run that should have a process is ended."),
]

T = TypeVar("T")

_RETRIED: Final[dict[str, Any]] = {"cache_policy": NO_CACHE, "retries": 2, "retry_delay_seconds": [2, 10]}


@flow(name=SWEEP_FLOW, description="Take up again what an event missed or a crash left behind.")
def sweep(
    older_than_seconds: OlderThanSeconds = OLDER_THAN_SECONDS,
    silent_after_seconds: SilentAfterSeconds = SILENT_AFTER_SECONDS,
) -> SweepReport:
    """What was taken up: runs ended, files announced, emails resumed or scheduled; nothing if all is well.

    A step that fails does not keep the others from being done. Two sweeps at once do no harm: the ledger decides who
    loads a file and who sends an email.

    Raises:
        BlockInvalidError: a saved block has an invalid field.
        BlockMissingError: a block is not saved on this Prefect server.
        SweepFailedError: some steps failed; it carries the report of the others.
    """
    run_blocks()  # a missing or invalid block fails the sweep here, once
    steps, slots = _Steps(), DeploymentSlots()
    steps.done(take_over_from_0_1, 0)
    crashed = steps.done(end_silent_runs, [], silent_after_seconds)
    cancelled = steps.done(cancel_lost_runs, [])
    announced = steps.done(announce_due_files, [], slots)
    announced = announced + steps.done(announce_unannounced_files, [], slots, older_than_seconds)
    emails = steps.done(send_overdue_emails, OverdueEmails())
    report = SweepReport(
        crashed=crashed,
        cancelled=cancelled,
        announced=announced,
        resumed=emails.resumed,
        notifications=emails.notifications,
    )
    if steps.failed:
        raise SweepFailedError(steps.failed, report)
    return report


class _Steps:
    """The steps of a sweep, none of which depends on another."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        """Name and problem of each step that failed."""

    def done(self, step: "Task[..., T]", nothing: T, *args: Any) -> T:  # noqa: ANN401 - the arguments of any step
        """What the step returns; `nothing` if it fails."""
        state: Any = step(*args, return_state=True)
        if state.is_completed():
            result: T = state.result()
            return result
        error = state.result(raise_on_failure=False)
        self.failed[step.name] = str(error) or type(error).__name__
        runtime().log().error("The step %r failed: %s", step.name, self.failed[step.name])
        return nothing


@task(name="take over from version 0.1", **_RETRIED)
def take_over_from_0_1() -> int:
    """The number of settled files without an email that version 0.1 left; emails about them are due now."""
    return run_blocks().file_ledger.take_over()


@task(name="end silent runs", **_RETRIED)
def end_silent_runs(silent_after_seconds: float) -> list[str]:
    """The names of the runs without a sign of life, which give up their slots now."""
    with get_client(sync_client=True) as client:
        silence = timedelta(seconds=silent_after_seconds)
        return end_runs(client, silent_runs(client, silence, other_than=runtime().flow_run_id()))


@task(name="cancel lost runs", **_RETRIED)
def cancel_lost_runs() -> list[str]:
    """The names of the scheduled runs that no worker will take up, which are cancelled now."""
    with get_client(sync_client=True) as client:
        return cancel_runs_without_queue(client)


@task(name="announce due files", **_RETRIED)
def announce_due_files(slots: Slots) -> list[SensorFile]:
    """The files that are due and were announced now: as many as there are free run slots for."""
    blocks = run_blocks()
    return _logged(take_up_due(blocks.file_ledger, slots, announce, blocks.landing_zone.incoming_prefix))


@task(name="announce unannounced files", **_RETRIED)
def announce_unannounced_files(slots: Slots, older_than_seconds: float) -> list[SensorFile]:
    """The files that no event has announced and that were announced now: as many as there are free run slots for.

    The others are due now, so the relay announces them when slots are free.
    """
    blocks, announced = run_blocks(), list[SensorFile]()
    ledger, prefix = blocks.file_ledger, blocks.landing_zone.incoming_prefix
    found = find_unannounced(ledger, blocks.landing_zone, timedelta(seconds=older_than_seconds))
    for group in in_groups(islice(found, FILES_PER_SWEEP)):
        if slots.take():
            announce_expected(group, ledger, announce, prefix)
            announced += group
        else:
            ledger.make_due(group)
    return _logged(announced)


@task(name="send overdue emails", **_RETRIED)
def send_overdue_emails() -> OverdueEmails:
    """What was done about the emails that are due and that no run sends."""
    return take_up_overdue_emails(run_blocks().file_ledger, _send_at_once)


def _send_at_once(reports: Sequence[FileReport], email_id: str) -> Notification:
    return send_later(reports, 0, notify, email_id)


def _logged(announced: list[SensorFile]) -> list[SensorFile]:
    if announced:
        uris = ", ".join(file.uri for file in announced[:10])
        runtime().log().info("%d file(s) announced again: %s", len(announced), uris)
    return announced
