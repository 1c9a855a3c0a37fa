"""The automation that crashes silent runs: runs whose process ended without reporting a terminal state."""

from datetime import timedelta
from typing import Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from blocks.domain.names import DEPLOYMENT_TAG

AUTOMATION: Final = "sensor-ingest: crash runs that give no sign of life"

SILENCE: Final = timedelta(seconds=100)
"""Time without an event after which a run counts as silent: three heartbeats and ten seconds.

`prefect.yaml` sets a heartbeat every 30 s (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`, whose minimum that is in Prefect 3.9).
The longest silence of a live run was 29 s at a load of 18 on two cores. Source: "How to detect and respond to zombie
flows", Prefect documentation.
"""

SILENCE_OF_SLOW_STARTS: Final = timedelta(seconds=300)
"""The same where a run's infrastructure is provisioned first, as in ECS: meanwhile it sends no event.

Source: `task_start_timeout_seconds` of the ECS worker, 300 s by default in prefect-aws 0.7.
"""

_NON_TERMINAL_EVENTS: Final = ("Pending", "Submitting", "InfrastructurePending", "Running", "Retrying", "heartbeat")
"""Events of a run that has a process or is about to get one; a worker that dies in between leaves the run `Pending`."""


def silence_in(pool_type: str) -> timedelta:
    """The time without an event after which a run in a work pool of that type counts as silent."""
    return SILENCE if pool_type == "process" else SILENCE_OF_SLOW_STARTS


def ensure_crash_automation(client: SyncPrefectClient, after: timedelta = SILENCE) -> None:
    """Create the automation, or update the existing one; a disabled automation stays disabled.

    A silent run keeps a slot of its queue and its pool.

    Its trigger also fires if the last heartbeat arrives after the end of the run (PrefectHQ/prefect#18653); Prefect 3.9
    then keeps the terminal state. A live run that sends no event for so long is crashed as well, and so is each live
    run once a server is back that was away for so long: the windows of its triggers are in its database. That is
    harmless: the run loads on and ends in its own state (seen with 3.9.1), and the ledger decides who owns a file.
    """
    wanted = AutomationCore(
        name=AUTOMATION,
        description="A run that a worker has received and that sends no event for "
        f"{after.total_seconds():g} s has lost its process. Another run takes up its files.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # Other projects may use the same server: the tag, set in prefect.yaml, selects the runs of our deployments.
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{DEPLOYMENT_TAG}"},
            for_each={"prefect.resource.id"},
            after={f"prefect.flow-run.{event}" for event in _NON_TERMINAL_EVENTS},
            expect={"prefect.flow-run.*"},  # any event: the run is alive or has ended
            threshold=1,
            within=after,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, name=None, message="no heartbeat: its process is gone", force=False
            )
        ],
    )
    existing = client.read_automations_by_name(AUTOMATION)
    for automation in existing:
        updated = wanted.model_copy(update={"enabled": automation.enabled})
        client.update_automation(automation.id, updated)
    if not existing:
        client.create_automation(wanted)
