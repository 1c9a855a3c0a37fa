"""The automation that crashes stalled runs: runs whose process ended without reporting a terminal state."""

from datetime import timedelta
from typing import Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from blocks.domain.names import DEPLOYMENT_TAG

AUTOMATION: Final = "sensor-ingest: crash runs that give no sign of life"

HEARTBEATS_MISSED: Final = timedelta(seconds=300)
"""Time without an event after which a run counts as stalled: four heartbeats and a minute.

`prefect.yaml` sets a heartbeat every 60 s (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`). Source: "How to detect and respond to
zombie flows", Prefect documentation.
"""

_NON_TERMINAL_EVENTS: Final = ("Pending", "Submitting", "InfrastructurePending", "Running", "Retrying", "heartbeat")
"""Events of a run that has a process or is about to get one; a worker that dies in between leaves the run `Pending`."""


def ensure_crash_automation(client: SyncPrefectClient, after: timedelta = HEARTBEATS_MISSED) -> None:
    """Create the automation, or update the existing one; a disabled automation stays disabled.

    A stalled run keeps a slot of its deployment, its queue and its pool.

    Its trigger also fires if the last heartbeat arrives after the end of the run (PrefectHQ/prefect#18653); Prefect 3.9
    then keeps the terminal state. A live run that sends no event for so long is crashed as well. That is harmless:
    another run claims the file and stores the same rows, and the ledger records the run that finishes first.
    """
    wanted = AutomationCore(
        name=AUTOMATION,
        description="A run that a worker has received and that sends no event for five minutes has lost its process. "
        "A sweep starts another run for its files.",
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
