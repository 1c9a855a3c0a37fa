"""What deploying ensures besides the deployments: blocks, the automation that ends the wait, and first the work pool.

Everything here may be done again. What people may have set for themselves, such as limits and recipients, is left so.
"""

import os
from typing import Any

import boto3
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.domain.names import EMAILS_QUEUE, WORK_POOL
from blocks.saved_blocks import save_blocks
from blocks.stack_outputs import STACK_NAME, current_stack_outputs
from deployments.server.api_access import refusals_explained
from deployments.server.crash_automation import ensure_crash_automation
from deployments.server.ecs_pool import ensure_ecs_pool
from deployments.server.prefect_yaml import prefect_deploy_all
from deployments.settings import EMAILS_AT_ONCE, POOL_LIMIT, Settings
from flows.notification.wait import SHORTEST_PAUSE_SECONDS, ensure_resume_automation


def prepare_server() -> dict[str, Any]:
    """The outputs of a deployment step that `prefect.yaml` runs: the wait that deployed runs have by default (seconds).

    It saves the blocks from the outputs of the CloudFormation stack, makes the automations that end the wait and
    notice dead runs, and limits the work pool.

    Raises:
        StackMissingError: there is no such stack where the AWS credentials and region lead.
    """
    settings = Settings()
    save_blocks(current_stack_outputs(), aws_credentials(settings))
    with get_client(sync_client=True) as client:
        ensure_limits(client)
        ensure_crash_automation(client)
        if settings.notify_after_seconds >= SHORTEST_PAUSE_SECONDS:
            ensure_resume_automation(client, settings.notify_after_seconds)
    return {"notify_after_seconds": settings.notify_after_seconds}


def aws_credentials(settings: Settings) -> AwsCredentials:
    """The credentials that runs get: an emulator's endpoint and keys; in AWS only the region, as runs have a role."""
    session = boto3.Session()
    keys = session.get_credentials()
    if settings.endpoint_url is None or keys is None:
        return AwsCredentials(region_name=session.region_name)
    return AwsCredentials(
        region_name=session.region_name,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=SecretStr(keys.secret_key or ""),
        aws_client_parameters=AwsClientParameters(endpoint_url=settings.endpoint_url),
    )


def ensure_work_pool(stack: str = STACK_NAME, ecs_stack: str | None = None) -> None:
    """Make the process work pool, unless there is a pool of that name: whoever made it decides what type it has.

    With an ECS stack it is a pool for runs in ECS, made from the outputs of both stacks.

    Raises:
        ApiRefusedError: the server does not take the credentials of this process.
        EcsStackMissingError: there is no such stack for ECS.
        PoolTypeError: a pool for ECS was asked for, and there is one of another type.
        StackMissingError: a pool for ECS was asked for, and there is no such stack.
    """
    with refusals_explained(), get_client(sync_client=True) as client:
        if ecs_stack:
            ensure_ecs_pool(client, stack, ecs_stack)
            return
        try:
            client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        except ObjectAlreadyExists:
            return


def ensure_limits(client: SyncPrefectClient) -> None:
    """Limit the work pool, and its queue for emails, unless somebody has given them limits of their own."""
    if client.read_work_pool(WORK_POOL).concurrency_limit is None:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=POOL_LIMIT))
    try:
        queue = client.read_work_queue_by_name(EMAILS_QUEUE, work_pool_name=WORK_POOL)
    except ObjectNotFound:
        queue = client.create_work_queue(EMAILS_QUEUE, work_pool_name=WORK_POOL)
    if queue.concurrency_limit is None:
        client.update_work_queue(queue.id, concurrency_limit=EMAILS_AT_ONCE)


def deploy_all(
    *, stack: str | None = None, ecs_stack: str | None = None, notify_after_seconds: float | None = None
) -> str:
    """What `prefect deploy --all` said, after the work pool was ensured.

    Raises:
        ApiRefusedError: the server does not take the credentials of this process.
        DeployError: it failed.
        SensorIngestError: others, as `ensure_work_pool` says.
    """
    ensure_work_pool(stack or Settings().stack, ecs_stack)
    asked_for = {"SENSOR_INGEST_STACK": stack, "SENSOR_INGEST_NOTIFY_AFTER_SECONDS": notify_after_seconds}
    return prefect_deploy_all(os.environ | {name: str(value) for name, value in asked_for.items() if value is not None})
