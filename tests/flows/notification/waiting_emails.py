"""Emails of the outbox that wait, and the runs that are to send them, which no process runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType

from blocks.domain.models import FileReport, SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.emails import OutboxEmail
from flows.notify import notify
from tests.support.world import World


@contextmanager
def deployed(**settings: Any) -> Iterator[tuple[SyncPrefectClient, UUID]]:  # noqa: ANN401 - of create_deployment
    """A client, and the deployment of `notify`, which no worker looks at."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(notify), "notify", **settings)
        yield client, deployment
        client.delete_deployment(deployment)


def run_in(state: State[None], files: Sequence[FileReport] = (), email_id: str | None = None) -> str:
    """The id of a notify run that the server knows, and that no process runs."""
    with get_client(sync_client=True) as client:
        parameters = {"files": [file.model_dump(mode="json") for file in files], "email_id": email_id}
        return str(client.create_flow_run(notify, parameters=parameters, state=state).id)


def state_of(run_id: str) -> StateType | None:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run_id)).state_type


def report(world: World, name: str) -> FileReport:
    return FileReport(bucket=world.outputs.bucket_name, key=f"incoming/{name}", version="v1", status="archived")


def waiting(world: World, ledger: FileLedger, name: str, run_id: str | None) -> OutboxEmail:
    """An email about one file that is overdue, and whose run is that one."""
    ledger.collect(name, [SensorFile(bucket=world.outputs.bucket_name, key=f"incoming/{name}")], 0)
    assert ledger.finish_collecting(name, [report(world, name)], timedelta(seconds=-60))
    if run_id:
        ledger.assign_run(name, run_id)
    return ledger.email(name)
