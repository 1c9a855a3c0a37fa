"""What makes it certain: files that an event missed, or a crash left behind, are announced again."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.announcing import announce
from flows.environment import environment
from flows.limits import in_groups
from flows.models import SensorFile

OLDER_THAN_SECONDS: Final = 900
"""Age from which a file in `incoming/` is taken for stranded: an event takes seconds, a lease 15 minutes."""

OlderThanSeconds = Annotated[
    float, Field(ge=0, description="Seconds that a file may be in incoming/ before it is taken.")
]


@flow(name="sweep", description="Announce files again that have been in incoming/ for too long.")
def sweep(older_than_seconds: OlderThanSeconds = OLDER_THAN_SECONDS) -> list[SensorFile]:
    """The files that were announced again: those in `incoming/` for longer than that which no run has in hand."""
    stranded = find_stranded(older_than_seconds)
    announce_again(stranded)
    return stranded


@task(task_run_name="find stranded files", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[2, 10])
def find_stranded(older_than_seconds: float) -> list[SensorFile]:
    """The files in `incoming/` for longer than that, less those that a run is loading."""
    blocks = environment()
    waiting = blocks.landing_zone.waiting(timedelta(seconds=older_than_seconds))
    return [file for file in waiting if not blocks.file_ledger.is_in_hand(file)]


@task(task_run_name="announce them again", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[2, 10])
def announce_again(files: list[SensorFile]) -> None:
    """Emit `sensor-files.arrived` for the files, as the relay does for new ones."""
    occasion = f"sweep {datetime.now(UTC).isoformat()}"
    for group in in_groups(files):
        announce(group, environment().landing_zone.incoming_prefix, occasion)
    get_run_logger().info("%d file(s) announced again: %s", len(files), ", ".join(file.uri for file in files[:10]))
