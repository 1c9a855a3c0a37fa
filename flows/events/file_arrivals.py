"""The event that files have arrived, which starts the ingest deployment."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.events import Event, Resource
from prefect.events.clients import get_events_client
from prefect.utilities.asyncutils import run_coro_as_sync

from blocks.domain.models import SensorFile
from blocks.domain.names import FILES_ARRIVED
from blocks.domain.s3_keys import s3_uri


def announce(files: Sequence[SensorFile], incoming_prefix: str, occasion: str = "") -> UUID:
    """The id of the event `sensor-files.arrived`; when it comes back, the Prefect server has acknowledged the event."""
    event = arrival_event(files, incoming_prefix, occasion)
    run_coro_as_sync(_emit(event))  # also where an event loop runs already, as in a notebook
    return event.id


def arrival_event(files: Sequence[SensorFile], incoming_prefix: str, occasion: str = "") -> Event:
    """The event that carries these files.

    Its id is derived from what it carries: the same arrivals announced again are the same event. That helps, but a
    server that was restarted in between has forgotten; the ledger is what keeps files from being loaded twice. An
    occasion makes it another event, for files that are to be announced again on purpose.
    """
    arrivals = sorted(f"{file.uri}@{file.version}@{file.sequencer}" for file in files)
    return Event(
        event=FILES_ARRIVED,
        resource=Resource({"prefect.resource.id": s3_uri(files[0].bucket, incoming_prefix)}),
        payload={"objects": [file.model_dump(mode="json") for file in files]},
        id=uuid5(NAMESPACE_URL, "\n".join([*arrivals, occasion])),
    )


async def _emit(event: Event) -> None:
    # One try, acknowledged or not: who announces knows better how long to wait before the next.
    async with get_events_client(reconnection_attempts=0, checkpoint_every=1) as client:
        await client.emit(event)
