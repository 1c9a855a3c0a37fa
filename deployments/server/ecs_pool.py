"""The work pool for runs in ECS, configured from the outputs of `aws/ecs.yaml`: as tasks, or in the worker's task."""

import shlex
from typing import Annotated, Any, Final, Literal

import boto3
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker
from prefect_aws.workers.ecs_worker import ECSWorker

from blocks.domain.errors import EcsStackMissingError, PoolTypeError
from blocks.domain.names import WORK_POOL
from blocks.stack_outputs import CloudFormationOutputs, CommaSeparated, StackOutputs

LAUNCHER: Final = (
    *("/opt/venv/bin/python", "-I", "-S"),
    *("/app/deployments/warm_starts/launcher.py", "/home/sensor-ingest/warm.sock"),
)
"""Starts a run in the worker's task. The paths are those of the image, and of the worker's command in ecs.yaml."""

CPU: Final = 1024
"""CPU units of a run; 1,024 units are one core."""

MEMORY: Final = 2048
"""Memory of a run in MiB: Fargate's minimum with one core. docs/performance.md has the memory that a run uses."""

_WRITABLE: Final = {"home": "/home/sensor-ingest", "tmp": "/tmp"}  # noqa: S108 - a path in a container
_SECRETS: Final = {
    "PREFECT_API_AUTH_STRING": "prefect_api_auth_string_secret_arn",
    "PREFECT_API_KEY": "prefect_api_key_secret_arn",
}


class EcsOutputs(CloudFormationOutputs):
    """Outputs of deployments/aws/ecs.yaml."""

    missing_error = EcsStackMissingError

    image: str
    runs_in: Literal["tasks", "worker"] = "tasks"
    run_family: str
    cluster_arn: str
    execution_role_arn: str
    log_group_name: str
    vpc_id: str
    subnet_ids: Annotated[list[str], CommaSeparated]
    security_group_id: str
    assign_public_ip: str
    prefect_secret_arn: str
    prefect_secret_variable: str


def ensure_ecs_pool(client: SyncPrefectClient, stack: str, ecs_stack: str) -> None:
    """Create the work pool, or update its base job template, from the current outputs of both stacks.

    Raises:
        EcsStackMissingError: `ecs_stack` does not exist, or another template created it.
        PoolTypeError: a pool of that name exists, and its type is not that of such runs: `ecs`, or `process`.
        StackMissingError: `stack` does not exist, or another template created it.
    """
    cloudformation = boto3.client("cloudformation")
    run_role_arn = StackOutputs.read(stack, cloudformation).run_role_arn
    outputs = EcsOutputs.read(ecs_stack, cloudformation)
    if outputs.runs_in == "tasks":
        pool_type, template = ECSWorker.type, base_job_template(outputs, run_role_arn)
    else:
        pool_type, template = ProcessWorker.type, process_job_template()
    try:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type=pool_type, base_job_template=template))
    except ObjectAlreadyExists:
        found = client.read_work_pool(WORK_POOL)
        if found.type != pool_type:
            raise PoolTypeError(WORK_POOL, found.type, pool_type) from None
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))


def process_job_template() -> dict[str, Any]:
    """The base job template of the installed Prefect for processes, which the launcher of warm starts starts."""
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = shlex.join(LAUNCHER)
    return template


def base_job_template(outputs: EcsOutputs, run_role_arn: str) -> dict[str, Any]:
    """The base job template of the installed prefect-aws, with the stacks' values as defaults.

    Each variable of that template can still be overridden, by a deployment or in the UI.
    """
    template = ECSWorker.get_default_base_job_template()
    properties = template["variables"]["properties"]
    for name, value in _defaults(outputs, run_role_arn).items():
        properties[name]["default"] = value
    _make_read_only(template["job_configuration"]["task_definition"])
    return template


def _make_read_only(task_definition: dict[str, Any]) -> None:
    """Let runs write to their home and to /tmp alone, which the image declares as volumes; as in ecs.yaml."""
    [container] = task_definition["containerDefinitions"]
    container["readonlyRootFilesystem"] = True
    container["mountPoints"] = [{"sourceVolume": name, "containerPath": path} for name, path in _WRITABLE.items()]
    task_definition["volumes"] = [{"name": name} for name in _WRITABLE]


def _defaults(outputs: EcsOutputs, run_role_arn: str) -> dict[str, Any]:
    return {
        "image": outputs.image,
        "cpu": CPU,
        "memory": MEMORY,
        "cluster": outputs.cluster_arn,
        "vpc_id": outputs.vpc_id,
        "network_configuration": {
            "subnets": outputs.subnet_ids,
            "securityGroups": [outputs.security_group_id],
            "assignPublicIp": outputs.assign_public_ip,
        },
        "task_role_arn": run_role_arn,
        "execution_role_arn": outputs.execution_role_arn,
        _SECRETS[outputs.prefect_secret_variable]: outputs.prefect_secret_arn,
        # All runs share one task definition: it depends on no deployment, so a worker registers it once.
        "family": outputs.run_family,
        "match_latest_revision_in_family": True,
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_prefix": "run",
        "cloudwatch_logs_options": {"awslogs-group": outputs.log_group_name, "awslogs-create-group": "false"},
    }
