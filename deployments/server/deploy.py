"""Deployment of a Prefect server: work pool, blocks and automations, then the deployments of `prefect.yaml`.

All steps are idempotent. Values that users change on the server, such as limits and recipients, are kept.
"""

import os
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import boto3
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.domain.names import WORK_POOL
from blocks.saved_blocks import load_feeds, save_blocks
from blocks.stack_outputs import STACK_NAME, current_stack_outputs
from deployments.aws.feed_stacks import ensure_feed_tables
from deployments.server.api_access import refusals_explained
from deployments.server.crash_automation import ensure_crash_automation, silence_in
from deployments.server.ecs_pool import ensure_ecs_pool
from deployments.server.feed_files import feeds_in_files
from deployments.server.prefect_yaml import prefect_deploy_all
from deployments.settings import POOL_LIMIT, QUEUE_LIMITS, Settings
from flows.notification.wait import SHORTEST_PAUSE_SECONDS, ensure_resume_automation


def prepare_server() -> dict[str, Any]:
    """The outputs of the deployment step in `prefect.yaml`: the default wait between loading and email, in seconds.

    The step saves the blocks from the outputs of the CloudFormation stack, creates the tables of feeds, creates the
    automations that resume paused emails and crash silent runs, and sets the limits of the work pool.

    Raises:
        FeedInvalidError: a file of the folder of feeds declares none that can be used.
        FeedsConflictError: two feeds cannot be used together.
        StackFailedError: the table of a feed could not be created.
        StackMissingError: the stack does not exist in this AWS account and region.
    """
    settings = Settings()
    save_blocks(current_stack_outputs(), aws_credentials(settings), feeds_in_files())
    ensure_feed_tables(boto3.Session(), settings.stack, load_feeds().all)
    with get_client(sync_client=True) as client:
        ensure_limits(client)
        ensure_crash_automation(client, silence_in(client.read_work_pool(WORK_POOL).type))
        if settings.notify_after_seconds >= SHORTEST_PAUSE_SECONDS:
            ensure_resume_automation(client, settings.notify_after_seconds)
    return {"notify_after_seconds": settings.notify_after_seconds}


def aws_credentials(settings: Settings) -> AwsCredentials:
    """The credentials for runs: region and endpoint; and the keys, if the endpoint is an emulator on this machine.

    Keys for any other endpoint, such as an emulator elsewhere or an interface endpoint of a VPC, are those of the
    person who deploys, and all who may use the Prefect API could read them. There runs have a role, or keys in their
    environment, or a person adds keys to the block.
    """
    session = boto3.Session()
    keys = session.get_credentials()
    parameters = AwsClientParameters(endpoint_url=settings.endpoint_url)
    if settings.endpoint_url is None or keys is None or not _is_loopback(settings.endpoint_url):
        return AwsCredentials(region_name=session.region_name, aws_client_parameters=parameters)
    return AwsCredentials(
        region_name=session.region_name,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=SecretStr(keys.secret_key or ""),
        aws_client_parameters=parameters,
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def ensure_work_pool(stack: str = STACK_NAME, ecs_stack: str | None = None) -> None:
    """Create the work pool; without an ECS stack a process pool, and an existing pool keeps its type.

    With an ECS stack the pool starts runs as ECS tasks, configured from the outputs of both stacks.

    Raises:
        ApiRefusedError: the server refuses the credentials of this process.
        PoolTypeError: `ecs_stack` is given, and a pool of another type exists.
        StackMissingError: `ecs_stack` is given, and one of the two stacks does not exist.
    """
    with refusals_explained(), get_client(sync_client=True) as client:
        if ecs_stack:
            ensure_ecs_pool(client, stack, ecs_stack)
            return
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))


def ensure_limits(client: SyncPrefectClient) -> None:
    """Set the limits of the work pool and of its queues for files and for emails; existing limits are kept."""
    if client.read_work_pool(WORK_POOL).concurrency_limit is None:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=POOL_LIMIT))
    for name, limit in QUEUE_LIMITS.items():
        try:
            queue = client.read_work_queue_by_name(name, work_pool_name=WORK_POOL)
        except ObjectNotFound:
            queue = client.create_work_queue(name, work_pool_name=WORK_POOL)
        if queue.concurrency_limit is None:
            client.update_work_queue(queue.id, concurrency_limit=limit)


def deploy_all(
    *, stack: str | None = None, ecs_stack: str | None = None, notify_after_seconds: float | None = None
) -> str:
    """The output of `prefect deploy --all`, which runs once the work pool exists.

    Raises:
        DeployError: `prefect deploy --all` failed.
        SensorIngestError: as in `ensure_work_pool`.
    """
    ensure_work_pool(stack or Settings().stack, ecs_stack)
    options = {"SENSOR_INGEST_STACK": stack, "SENSOR_INGEST_NOTIFY_AFTER_SECONDS": notify_after_seconds}
    return prefect_deploy_all(os.environ | {name: str(value) for name, value in options.items() if value is not None})
