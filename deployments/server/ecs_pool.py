"""The work pool whose runs are tasks in ECS, made from the outputs of `aws/ecs.yaml`."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import boto3
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect_aws.workers.ecs_worker import ECSWorker
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_pascal

from blocks.domain.errors import EcsStackMissingError, PoolTypeError
from blocks.domain.names import WORK_POOL
from blocks.stack_outputs import StackOutputs, find_stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

TYPE: Final = ECSWorker.type

CPU: Final = 1024
"""Of a run, in thousandths of a core, 1,024 being one."""

MEMORY: Final = 2048
"""Of a run, in MiB: the least that Fargate gives with one core. See docs/performance.md for what a run takes."""

_SECRETS: Final = {
    "PREFECT_API_AUTH_STRING": "prefect_api_auth_string_secret_arn",
    "PREFECT_API_KEY": "prefect_api_key_secret_arn",
}


def _names(value: str) -> list[str]:
    return value.split(",")


class EcsOutputs(BaseModel):
    """The outputs of the stack, by the names that the template gives them."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_pascal)

    image: str
    run_family: str
    cluster_arn: str
    execution_role_arn: str
    log_group_name: str
    vpc_id: str
    subnet_ids: Annotated[list[str], BeforeValidator(_names)]
    security_group_id: str
    assign_public_ip: str
    prefect_secret_arn: str
    prefect_secret_variable: str

    @classmethod
    def read(cls, stack_name: str, cloudformation_client: "CloudFormationClient") -> Self:
        """The outputs of that stack.

        Raises:
            EcsStackMissingError: there is no such stack, or another template made it.
        """
        stack = find_stack(stack_name, cloudformation_client)
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])} if stack else {}
        missing = {to_pascal(field) for field in cls.model_fields} - outputs.keys()
        if missing:
            raise EcsStackMissingError(stack_name, cloudformation_client.meta.region_name, sorted(missing))
        return cls.model_validate(outputs)


def ensure_ecs_pool(client: SyncPrefectClient, stack: str, ecs_stack: str) -> None:
    """Make the work pool, or have it start runs as the two stacks say now.

    Raises:
        EcsStackMissingError: the second of the stacks is not there.
        PoolTypeError: there is a pool of that name, and it is for runs elsewhere.
        StackMissingError: the first of the stacks is not there.
    """
    cloudformation = boto3.client("cloudformation")
    run_role_arn = StackOutputs.read(stack, cloudformation).run_role_arn
    template = base_job_template(EcsOutputs.read(ecs_stack, cloudformation), run_role_arn)
    try:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type=TYPE, base_job_template=template))
    except ObjectAlreadyExists:
        found = client.read_work_pool(WORK_POOL)
        if found.type != TYPE:
            raise PoolTypeError(WORK_POOL, found.type, TYPE) from None
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))


def base_job_template(outputs: EcsOutputs, run_role_arn: str) -> dict[str, Any]:
    """What the pool starts runs with: the template of the installed prefect-aws, with the stack's values as defaults.

    Whatever prefect-aws lets people set can still be set, for a deployment or in the UI.
    """
    template = ECSWorker.get_default_base_job_template()
    properties = template["variables"]["properties"]
    for name, value in _defaults(outputs, run_role_arn).items():
        properties[name]["default"] = value
    return template


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
        # One definition for all runs: nothing of a deployment is in it, so a worker need not register another.
        "family": outputs.run_family,
        "match_latest_revision_in_family": True,
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_prefix": "run",
        "cloudwatch_logs_options": {"awslogs-group": outputs.log_group_name, "awslogs-create-group": "false"},
    }
