"""A work pool for runs in ECS: made from the outputs of both stacks, and what the installed prefect-aws makes of it.

No task is started: what the worker would send to ECS is held against botocore's description of ECS.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import prefect_aws
import pytest
from botocore.validate import ParamValidator
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it carries no types
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker

from blocks.domain.errors import EcsStackMissingError, PoolTypeError
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import TEMPLATE, ensure_stack
from deployments.server import ecs_pool
from deployments.server.ecs_pool import EcsOutputs, base_job_template, ensure_ecs_pool
from deployments.server.prefect_yaml import prefect_yaml
from tests.support.servers import REGION, Aws

STACK: Final = "with-ecs"
ECS_STACK: Final = "with-ecs-ecs"
ECS_TEMPLATE: Final = Path(str(TEMPLATE)).with_name("ecs.yaml").read_text(encoding="utf-8")
IMAGE: Final = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/sensor-ingest:2026-11-22"
POOL: Final = "sensor-ingest-in-ecs"
SECRET: Final = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:prefect-AbCdEf"
DEFINITION: Final = f"arn:aws:ecs:{REGION}:111111111111:task-definition/{ECS_STACK}-run:1"


@pytest.fixture(scope="module")
def main_stack(aws: Aws) -> StackOutputs:
    parameters = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com"}
    return ensure_stack(aws.client("cloudformation"), STACK, parameters)


@pytest.fixture(scope="module")
def outputs(aws: Aws, main_stack: StackOutputs) -> EcsOutputs:
    """Those of the template for ECS, without tasks in its services: the emulator would start them with Docker."""
    ec2, cloudformation = aws.client("ec2"), aws.client("cloudformation")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in (1, 2)]
    given = {
        "IngestStack": STACK,
        "Image": IMAGE,
        "VpcId": vpc,
        "SubnetIds": ",".join(subnets),
        "PrefectApiUrl": "https://prefect.example.com/api",
        "PrefectSecretArn": SECRET,
    }
    assert main_stack.run_role_arn
    cloudformation.create_stack(
        StackName=ECS_STACK,
        TemplateBody=re.sub("DesiredCount: .*", "DesiredCount: 0", ECS_TEMPLATE),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=ECS_STACK, WaiterConfig={"Delay": 1})
    return EcsOutputs.read(ECS_STACK, cloudformation)


@pytest.fixture
def here(aws: Aws) -> Iterator[None]:
    """The environment of somebody who deploys to the emulator."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield


# ---- What the worker of the installed prefect-aws sends to ECS ------------------------------------------------------


@pytest.fixture
def requests(outputs: EcsOutputs, main_stack: StackOutputs, here: None) -> dict[str, dict[str, Any]]:  # noqa: ARG001 - for its environment
    """By the operations of ECS: for a run of the deployment that loads files, as prefect.yaml has it."""
    deployed = prefect_yaml()["deployments"]
    [variables] = [each["work_pool"]["job_variables"] for each in deployed if each["name"] == "ingest-sensor-files"]
    template = base_job_template(outputs, main_stack.run_role_arn)
    nobody: Any = object()  # no block and no variable is looked up on a server
    rendered: Any = ECSJobConfiguration.from_template_and_values(template, variables, client=nobody)
    configuration: ECSJobConfiguration = asyncio.run(rendered)
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4(), name="sensors.csv")
    configuration.prepare_for_flow_run(
        run, work_pool=WorkPool(name="sensor-ingest", type="ecs", default_queue_id=uuid4())
    )
    worker = ECSWorker(work_pool_name="sensor-ingest")
    definition = worker._prepare_task_definition(configuration, REGION, run)  # noqa: SLF001 - what it would register
    task = worker._prepare_task_run_request(configuration, definition, DEFINITION, new_task_definition_registered=True)  # noqa: SLF001
    return {"RegisterTaskDefinition": definition, "RunTask": task}


@pytest.mark.parametrize("operation", ["RegisterTaskDefinition", "RunTask"])
def test_ecs_understands_what_the_worker_sends(aws: Aws, requests: dict[str, dict[str, Any]], operation: str) -> None:
    shape = aws.client("ecs").meta.service_model.operation_model(operation).input_shape
    report = ParamValidator().validate(requests[operation], shape)
    assert not report.has_errors(), report.generate_report()


def test_a_run_has_our_image_the_role_of_the_runs_and_its_secret_from_where_secrets_are(
    requests: dict[str, dict[str, Any]], outputs: EcsOutputs, main_stack: StackOutputs
) -> None:
    definition, task = requests["RegisterTaskDefinition"], requests["RunTask"]
    [container] = definition["containerDefinitions"]
    assert IMAGE == container["image"]
    assert [{"name": "PREFECT_API_AUTH_STRING", "valueFrom": SECRET}] == container["secrets"]
    assert outputs.execution_role_arn == definition["executionRoleArn"]
    assert main_stack.run_role_arn == task["overrides"]["taskRoleArn"]
    given = {each["name"]: each["value"] for each in task["overrides"]["containerOverrides"][0]["environment"]}
    assert "10" == given["PREFECT_CLIENT_MAX_RETRIES"], "what prefect.yaml sets"
    assert "PREFECT_API_AUTH_STRING" not in given


def test_a_secret_for_prefect_cloud_is_an_api_key(outputs: EcsOutputs) -> None:
    cloud = outputs.model_copy(update={"prefect_secret_variable": "PREFECT_API_KEY"})
    properties = base_job_template(cloud, "arn:aws:iam::111111111111:role/run")["variables"]["properties"]
    assert SECRET == properties["prefect_api_key_secret_arn"]["default"]
    assert properties["prefect_api_auth_string_secret_arn"]["default"] is None


def test_a_run_is_a_task_on_fargate_in_the_stacks_cluster_and_network(
    requests: dict[str, dict[str, Any]], outputs: EcsOutputs
) -> None:
    definition, task = requests["RegisterTaskDefinition"], requests["RunTask"]
    assert (["FARGATE"], "1024", "2048") == (
        definition["requiresCompatibilities"],
        definition["cpu"],
        definition["memory"],
    )
    assert outputs.cluster_arn == task["cluster"]
    assert {
        "subnets": outputs.subnet_ids,
        "securityGroups": [outputs.security_group_id],
        "assignPublicIp": "ENABLED",
    } == task["networkConfiguration"]["awsvpcConfiguration"]


def test_a_run_logs_where_the_stack_says_and_may_make_no_group_of_its_own(
    requests: dict[str, dict[str, Any]], outputs: EcsOutputs
) -> None:
    [container] = requests["RegisterTaskDefinition"]["containerDefinitions"]
    options = container["logConfiguration"]["options"]
    assert (outputs.log_group_name, "false") == (options["awslogs-group"], options["awslogs-create-group"])


def test_runs_of_all_deployments_share_the_family_that_the_worker_may_start(
    requests: dict[str, dict[str, Any]],
) -> None:
    assert f"{ECS_STACK}-run" == requests["RegisterTaskDefinition"]["family"]
    [statement] = [each for each in statements("WorkerRole") if each["Sid"] == "StartRuns"]
    assert statement["Resource"]["Fn::Sub"].endswith(":task-definition/${AWS::StackName}-run:*")


# ---- The pool on a Prefect server -----------------------------------------------------------------------------------


@pytest.fixture
def prefect(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    assert prefect_api
    monkeypatch.setattr(ecs_pool, "WORK_POOL", POOL)
    with get_client(sync_client=True) as client:
        yield client
        client.delete_work_pool(POOL)


@pytest.mark.usefixtures("here", "outputs")
def test_the_pool_is_made_and_follows_the_stack_when_it_is_there(prefect: SyncPrefectClient) -> None:
    ensure_ecs_pool(prefect, STACK, ECS_STACK)
    made = prefect.read_work_pool(POOL)
    assert "ecs" == made.type
    plain = ECSWorker.get_default_base_job_template()
    prefect.update_work_pool(made.name, WorkPoolUpdate(base_job_template=plain))
    ensure_ecs_pool(prefect, STACK, ECS_STACK)
    again = prefect.read_work_pool(POOL)
    assert made.id == again.id
    assert IMAGE == again.base_job_template["variables"]["properties"]["image"]["default"]


@pytest.mark.usefixtures("here", "outputs")
def test_a_pool_for_processes_is_not_turned_into_one_for_ecs(prefect: SyncPrefectClient) -> None:
    prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    with pytest.raises(PoolTypeError, match=r"is of type process, not ecs.*prefect work-pool delete"):
        ensure_ecs_pool(prefect, STACK, ECS_STACK)


@pytest.mark.usefixtures("here", "main_stack")
@pytest.mark.parametrize(
    ("stack", "problem"), [("no-such-stack", "does not exist"), (STACK, "has no output .*ClusterArn")]
)
def test_the_error_for_a_missing_stack_names_it_the_region_and_the_template(aws: Aws, stack: str, problem: str) -> None:
    with pytest.raises(EcsStackMissingError, match=f"{stack}' {problem}.*{REGION}.*deployments/aws/ecs.yaml creates"):
        EcsOutputs.read(stack, aws.client("cloudformation"))


# ---- Permissions: written out, so that widening them is a decision --------------------------------------------------


def statements(role: str) -> list[dict[str, Any]]:
    template = cfn_yaml.loads(ECS_TEMPLATE)
    return [
        statement
        for policy in template["Resources"][role]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(role: str) -> set[str]:
    return {
        action
        for statement in statements(role)
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


CALLED: Final = {
    # Source: the calls in workers/ecs_worker.py and observers/ecs.py of prefect-aws, which the test below reads.
    "describe_subnets": "ec2:DescribeSubnets",
    "describe_vpcs": "ec2:DescribeVpcs",
    "describe_task_definition": "ecs:DescribeTaskDefinition",
    "describe_tasks": "ecs:DescribeTasks",
    "register_task_definition": "ecs:RegisterTaskDefinition",
    "run_task": "ecs:RunTask",
    "stop_task": "ecs:StopTask",
    "get_log_events": "logs:GetLogEvents",
    "change_message_visibility": "sqs:ChangeMessageVisibility",
    "delete_message": "sqs:DeleteMessage",
    "get_queue_url": "sqs:GetQueueUrl",
    "receive_message": "sqs:ReceiveMessage",
}

NOT_CALLED_HERE: Final = {"deregister_task_definition"}
"""Only where a pool has `auto_deregister_task_definition`; ours keeps one definition."""

BESIDES: Final = {"ecs:TagResource", "iam:PassRole"}
"""What RunTask asks for when it is given tags and roles."""


def test_the_worker_may_do_what_it_calls_and_no_more() -> None:
    package = Path(str(prefect_aws.__file__)).parent
    called = {
        name
        for source in ("workers/ecs_worker.py", "observers/ecs.py")
        for name in re.findall(
            r"\b(?:self\.)?(?:ecs|ec2|sqs|logs)_client\.([a-z_]+)\(", (package / source).read_text(encoding="utf-8")
        )
    }
    assert called - {"__aexit__"} == CALLED.keys() | NOT_CALLED_HERE
    assert actions("WorkerRole") == {*CALLED.values(), *BESIDES}


def test_ecs_may_pull_the_image_log_and_read_one_secret() -> None:
    assert actions("ExecutionRole") == {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "secretsmanager:GetSecretValue",
    }


@pytest.mark.parametrize("role", ["ExecutionRole", "WorkerRole"])
def test_only_what_knows_no_resources_is_allowed_on_all_of_them(role: str) -> None:
    on_all = {statement["Sid"] for statement in statements(role) if statement["Resource"] == "*"}
    assert on_all <= {"DescribeWhatKnowsNoResources", "LogInToTheRegistry"}
    assert not any("*" in action for action in actions(role))


def test_nobody_can_connect_to_a_task() -> None:
    group = cfn_yaml.loads(ECS_TEMPLATE)["Resources"]["OutboundOnly"]["Properties"]
    assert "SecurityGroupIngress" not in group


# ---- Why the services are not prefect-aws's: as soon as one of these turns red, look at `deploy-service` again ------


def prefects_template() -> str:
    path = Path(str(prefect_aws.__file__)).parent / "templates" / "ecs" / "service.json"
    return path.read_text(encoding="utf-8")


def test_its_worker_gets_the_auth_string_under_a_name_that_prefect_does_not_read() -> None:
    assert '"PREFECT_AUTH_STRING"' in prefects_template()
    assert '"PREFECT_API_AUTH_STRING"' not in prefects_template()


def test_its_worker_may_pass_any_role_and_its_port_is_open_to_the_world() -> None:
    assert '"arn:aws:iam::*:role/*"' in prefects_template()
    resources = json.loads(prefects_template())["Resources"].values()
    [group] = [each["Properties"] for each in resources if each["Type"] == "AWS::EC2::SecurityGroup"]
    assert "0.0.0.0/0" in [each["CidrIp"] for each in group["SecurityGroupIngress"]]
