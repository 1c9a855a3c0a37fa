"""The work pool for runs in ECS: its template, and the requests that the installed prefect-aws derives from it.

No task is started: the requests are validated against botocore's description of ECS.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
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

import deployments.preloaded
from blocks.domain.errors import EcsStackMissingError, PoolTypeError
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import TEMPLATE, ensure_stack
from deployments.server import ecs_pool
from deployments.server.ecs_pool import LAUNCHER, EcsOutputs, base_job_template, ensure_ecs_pool
from deployments.server.prefect_yaml import prefect_yaml
from tests.support.pages import PROJECT
from tests.support.rendered_template import rendered
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
    """The outputs of ecs.yaml, deployed with services of zero tasks: the emulator would start tasks with Docker."""
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
    """The environment variables of a process that deploys to the emulator."""
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


# ---- Requests of prefect-aws's worker to ECS ------------------------------------------------------------------------


@pytest.fixture
def requests(outputs: EcsOutputs, main_stack: StackOutputs, here: None) -> dict[str, dict[str, Any]]:  # noqa: ARG001 - for its environment
    """The requests to ECS by operation, for a run of the deployment that prefect.yaml describes."""
    deployed = prefect_yaml()["deployments"]
    [variables] = [each["work_pool"]["job_variables"] for each in deployed if each["name"] == "ingest-sensor-files"]
    template = base_job_template(outputs, main_stack.run_role_arn)
    no_server: Any = object()  # neither a block nor a variable is loaded
    rendered: Any = ECSJobConfiguration.from_template_and_values(template, variables, client=no_server)
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
def test_requests_of_the_worker_are_valid_for_ecs(
    aws: Aws, requests: dict[str, dict[str, Any]], operation: str
) -> None:
    shape = aws.client("ecs").meta.service_model.operation_model(operation).input_shape
    report = ParamValidator().validate(requests[operation], shape)
    assert not report.has_errors(), report.generate_report()


def test_a_run_has_the_image_the_run_role_and_a_reference_to_its_secret(
    requests: dict[str, dict[str, Any]], outputs: EcsOutputs, main_stack: StackOutputs
) -> None:
    definition, task = requests["RegisterTaskDefinition"], requests["RunTask"]
    [container] = definition["containerDefinitions"]
    assert IMAGE == container["image"]
    assert [{"name": "PREFECT_API_AUTH_STRING", "valueFrom": SECRET}] == container["secrets"]
    assert outputs.execution_role_arn == definition["executionRoleArn"]
    assert main_stack.run_role_arn == task["overrides"]["taskRoleArn"]
    given = {each["name"]: each["value"] for each in task["overrides"]["containerOverrides"][0]["environment"]}
    assert "10" == given["PREFECT_CLIENT_MAX_RETRIES"], "as set in prefect.yaml"
    assert "PREFECT_API_AUTH_STRING" not in given


def test_a_run_writes_to_the_volumes_of_the_image_only(requests: dict[str, dict[str, Any]]) -> None:
    definition = requests["RegisterTaskDefinition"]
    [container] = definition["containerDefinitions"]
    assert container["readonlyRootFilesystem"] is True
    assert {each["sourceVolume"] for each in container["mountPoints"]} == {
        each["name"] for each in definition["volumes"]
    }
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    declared = json.loads(re.findall(r"^VOLUME (.*)$", dockerfile, re.MULTILINE)[0])
    assert [each["containerPath"] for each in container["mountPoints"]] == declared


def test_the_secret_for_prefect_cloud_is_an_api_key(outputs: EcsOutputs) -> None:
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


def test_a_run_logs_to_the_log_group_of_the_stack_and_creates_none(
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
def test_the_pool_is_created_and_an_existing_one_is_updated_from_the_stack(prefect: SyncPrefectClient) -> None:
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
def test_a_process_pool_is_not_converted_to_an_ecs_pool(prefect: SyncPrefectClient) -> None:
    prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    with pytest.raises(PoolTypeError, match=r"is of type process, not ecs.*prefect work-pool delete"):
        ensure_ecs_pool(prefect, STACK, ECS_STACK)


# ---- Runs in the worker's task --------------------------------------------------------------------------------------


def worker_container(**parameters: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """The worker's task and its container, for these parameters of ecs.yaml."""
    given = {"Image": IMAGE, "VpcId": "vpc", "SubnetIds": "subnet", "PrefectApiUrl": "https://a/api"}
    resources = rendered("ecs.yaml", **given, PrefectSecretArn=SECRET, **parameters)["Resources"]
    assert ("WorkerRole" in resources) is (parameters.get("RunsIn", "tasks") == "tasks")
    task = resources["WorkerTask"]["Properties"]
    [container] = task["ContainerDefinitions"]
    return task, container


@pytest.mark.usefixtures("here", "outputs")
def test_the_pool_for_runs_in_the_workers_task_starts_processes_with_the_launcher(
    prefect: SyncPrefectClient, outputs: EcsOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_worker = outputs.model_copy(update={"runs_in": "worker"})
    monkeypatch.setattr(EcsOutputs, "read", lambda *_: in_worker)
    ensure_ecs_pool(prefect, STACK, ECS_STACK)
    made = prefect.read_work_pool(POOL)
    command = shlex.split(made.base_job_template["variables"]["properties"]["command"]["default"])
    assert ("process", list(LAUNCHER)) == (made.type, command)
    monkeypatch.setattr(EcsOutputs, "read", lambda *_: outputs)
    with pytest.raises(PoolTypeError, match=r"is of type process, not ecs"):
        ensure_ecs_pool(prefect, STACK, ECS_STACK)


def test_the_launcher_is_where_the_image_has_it() -> None:
    interpreter, *_, launcher, _ = LAUNCHER
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    [[app]] = {tuple(re.findall(r"^WORKDIR (\S+)$", stage, re.MULTILINE)) for stage in dockerfile.split("\nFROM ")[1:]}
    assert (PROJECT / Path(launcher).relative_to(app)).is_file()
    assert f"python -m venv {Path(interpreter).parents[1]}\n" in dockerfile


def test_a_worker_with_runs_in_its_task_has_their_role_and_the_size_asked_for() -> None:
    task, container = worker_container(RunsIn="worker", WorkerCpu=4096, WorkerMemory=8192)
    assert ("4096", "8192") == (task["Cpu"], task["Memory"])
    assert "${IngestStack}-RunRoleArn" == task["TaskRoleArn"]["Fn::ImportValue"]["Fn::Sub"]
    assert {"PREFECT_WORKER_QUERY_SECONDS", "OPENBLAS_NUM_THREADS"} <= {
        each["Name"] for each in container["Environment"]
    }
    alone, _ = worker_container()
    assert ("256", "1024", ["WorkerRole", "Arn"]) == (alone["Cpu"], alone["Memory"], alone["TaskRoleArn"]["Fn::GetAtt"])


def test_the_workers_command_starts_the_warm_process_and_then_the_worker(tmp_path: Path) -> None:
    """The line runs here, with a folder of the test's in place of the home, and a worker that waits for the socket."""
    _, container = worker_container(RunsIn="worker")
    shell, option, line = container["Command"]
    socket, here = LAUNCHER[-1], str(tmp_path / "warm.sock")
    assert 1 == line.count(f"-m deployments.warm_starts {socket} {deployments.preloaded.__name__};")
    worker = tmp_path / "prefect"
    worker.write_text(f'#!/bin/sh\nwhile ! [ -S {here} ]; do sleep 0.1; done\necho "$@"\n')
    worker.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [shell, option, line.replace(socket, here)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            began = process.stdout.readline()
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # as ECS does with what the worker leaves
    assert "worker start --pool sensor-ingest --type process --install-policy never\n" == began


# ---- Errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here", "main_stack")
@pytest.mark.parametrize(
    ("stack", "problem"), [("no-such-stack", "does not exist"), (STACK, "has no output .*ClusterArn")]
)
def test_the_error_for_a_missing_stack_names_it_the_region_and_the_template(aws: Aws, stack: str, problem: str) -> None:
    with pytest.raises(EcsStackMissingError, match=f"{stack}' {problem}.*{REGION}.*deployments/aws/ecs.yaml creates"):
        EcsOutputs.read(stack, aws.client("cloudformation"))


# ---- Permissions: listed in full, so that widening them is deliberate ------------------------------------------------


def statements(role: str) -> list[dict[str, Any]]:
    template = cfn_yaml.loads(ECS_TEMPLATE)
    return [
        statement
        for policy in template["Resources"][role]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if "Fn::If" not in statement  # only with a key of one's own: tests/deployments/aws/test_template_rules.py
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
"""Permissions that RunTask needs for tags and roles."""


def test_the_worker_has_the_permissions_for_its_calls_and_no_others() -> None:
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


def test_the_execution_role_may_pull_the_image_write_logs_and_read_one_secret() -> None:
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
def test_only_actions_without_resource_types_are_allowed_on_all_resources(role: str) -> None:
    on_all = {statement["Sid"] for statement in statements(role) if statement["Resource"] == "*"}
    assert on_all <= {"DescribeWhatKnowsNoResources", "LogInToTheRegistry"}
    assert not any("*" in action for action in actions(role))


def test_tasks_accept_no_connections() -> None:
    group = cfn_yaml.loads(ECS_TEMPLATE)["Resources"]["OutboundOnly"]["Properties"]
    assert "SecurityGroupIngress" not in group


# ---- Reasons against prefect-aws's own `deploy-service`: if one of these tests fails, reconsider it ------------------


def prefect_aws_template() -> str:
    path = Path(str(prefect_aws.__file__)).parent / "templates" / "ecs" / "service.json"
    return path.read_text(encoding="utf-8")


def test_its_template_sets_the_auth_string_in_a_variable_that_prefect_does_not_read() -> None:
    assert '"PREFECT_AUTH_STRING"' in prefect_aws_template()
    assert '"PREFECT_API_AUTH_STRING"' not in prefect_aws_template()


def test_its_template_lets_the_worker_pass_any_role_and_opens_a_port_to_the_world() -> None:
    assert '"arn:aws:iam::*:role/*"' in prefect_aws_template()
    resources = json.loads(prefect_aws_template())["Resources"].values()
    [group] = [each["Properties"] for each in resources if each["Type"] == "AWS::EC2::SecurityGroup"]
    assert "0.0.0.0/0" in [each["CidrIp"] for each in group["SecurityGroupIngress"]]
