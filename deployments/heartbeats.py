"""The automation that notices runs whose process is gone, so that they do not look alive for ever."""

from datetime import timedelta
from typing import Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

AUTOMATION: Final = "sensor-ingest: crash runs without heartbeat"

TAG: Final = "sensor-ingest"

HEARTBEATS_MISSED: Final = timedelta(seconds=600)
"""How long after its last heartbeat a run is taken for dead: three of them, and a minute.

Prefect 3.8 sends one every 180 s (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`). Source: "How to detect and respond to zombie
flows", Prefect documentation.
"""

_ENDS: Final = ("Completed", "Failed", "Cancelled", "Crashed")


def ensure_crash_automation(client: SyncPrefectClient, after: timedelta = HEARTBEATS_MISSED) -> None:
    """Make the automation, unless there is one of that name.

    Such automations can fire though the run is alive (PrefectHQ/prefect#18653). That does no harm here: what the run
    has claimed is given to another run, which stores the same rows, and the first of the two to finish is remembered.
    """
    if client.read_automations_by_name(AUTOMATION):
        return
    client.create_automation(
        AutomationCore(
            name=AUTOMATION,
            description="A run that sends no more heartbeats has lost its process. The next sweep takes up its files.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match={"prefect.resource.id": "prefect.flow-run.*"},
                # A server may be shared: only runs of our deployments, which prefect.yaml gives this tag.
                match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
                for_each={"prefect.resource.id"},
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in _ENDS)},
                threshold=1,
                within=after,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED, name=None, message="no heartbeat: its process is gone", force=False
                )
            ],
        )
    )
