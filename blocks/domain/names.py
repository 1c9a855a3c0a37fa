"""The names that Prefect knows the parts of this project by. `prefect.yaml` repeats some; a test compares them."""

from typing import Final

INGEST_FLOW: Final = "ingest-sensor-files"
NOTIFY_FLOW: Final = "notify"
SWEEP_FLOW: Final = "sweep"

WORK_POOL: Final = "sensor-ingest"
FILES_QUEUE: Final = "files"
"""The work queue of `ingest-sensor-files`, with a limit of its own, which is the number of run slots."""
EMAILS_QUEUE: Final = "emails"
"""The work queue of `notify`, with a limit of its own."""
DEPLOYMENT_TAG: Final = "sensor-ingest"
"""The tag of all deployments of this project: automations on a shared server match it."""

FILES_ARRIVED: Final = "sensor-files.arrived"
"""The event that starts a run of `ingest-sensor-files`."""
FILE_LOADED: Final = "sensor-file.loaded"
FILE_REFUSED: Final = "sensor-file.refused"
FILE_FAILED: Final = "sensor-file.failed"


def deployment_name(flow_name: str) -> str:
    """Flow and deployment as the server names them, `notify/notify`: each deployment is named like its flow."""
    return f"{flow_name}/{flow_name}"
