"""The automation that notices runs whose process is gone, so that they do not look alive for ever."""

from datetime import timedelta
from typing import Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from blocks.domain.names import DEPLOYMENT_TAG

AUTOMATION: Final = "sensor-ingest: crash runs that give no sign of life"

HEARTBEATS_MISSED: Final = timedelta(seconds=300)
"""How long after its last sign of life a run is taken for dead: four heartbeats, and a minute.

`prefect.yaml` has them sent every 60 s (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`). Source: "How to detect and respond to
zombie flows", Prefect documentation.
"""

_MAY_DIE_AFTER: Final = ("Pending", "Submitting", "InfrastructurePending", "Running", "Retrying", "heartbeat")
"""Where a run has a process, or is about to get one: a worker that dies in between leaves it `Pending` for ever."""


def ensure_crash_automation(client: SyncPrefectClient, after: timedelta = HEARTBEATS_MISSED) -> None:
    """Make the automation, or bring the one of that name up to date; whether it is enabled is left to people.

    Dead runs do not only look odd: each keeps a slot of its deployment, queue and pool.

    It fires in vain where the last heartbeat comes after the end of a run (PrefectHQ/prefect#18653): Prefect 3.9 leaves
    runs that have ended as they are. A live run that can send nothing for so long is shown as crashed. That does no
    harm: what it has claimed is given to another run, which stores the same rows, and the first to end is remembered.
    """
    wanted = AutomationCore(
        name=AUTOMATION,
        description="A run that was handed to a worker, and shows nothing for five minutes, has lost its process. "
        "A sweep takes up its files.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # A server may be shared: only runs of our deployments, which prefect.yaml gives this tag.
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{DEPLOYMENT_TAG}"},
            for_each={"prefect.resource.id"},
            after={f"prefect.flow-run.{sign}" for sign in _MAY_DIE_AFTER},
            expect={"prefect.flow-run.*"},  # whatever else it shows, it lives or has ended
            threshold=1,
            within=after,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, name=None, message="no sign of life: its process is gone", force=False
            )
        ],
    )
    standing = client.read_automations_by_name(AUTOMATION)
    for automation in standing:
        kept = wanted.model_copy(update={"enabled": automation.enabled})
        client.update_automation(automation.id, kept)
    if not standing:
        client.create_automation(wanted)
