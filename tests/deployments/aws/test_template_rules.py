"""Rules of security that hold for the templates with any parameters; `make check` runs them.

The rules are those of AWS's own checks (Security Hub, "AWS Foundational Security Best Practices"), as far as a template
can show them; the numbers in the names of the tests are theirs. docs/security.md has the exceptions.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.rendered_template import FOLDER, rendered

KEY: Final = "arn:aws:kms:eu-central-1:111111111111:key/1"
MAIL: Final[dict[str, object]] = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com"}
EXISTING: Final[dict[str, object]] = {
    "ExistingBucketName": "theirs",
    "ExistingQueueArn": "arn:aws:sqs:eu-central-1:111111111111:theirs",
    "ExistingDeadLetterQueueArn": "arn:aws:sqs:eu-central-1:111111111111:theirs-dead",
    "ExistingReadingsTableName": "theirs",
    "ExistingFilesTableName": "their-files",
    "CreateSender": "no",
}
ECS: Final[dict[str, object]] = {
    "Image": "image",
    "VpcId": "vpc",
    "SubnetIds": "subnet",
    "PrefectApiUrl": "https://prefect.example.com/api",
    "PrefectSecretArn": "arn:aws:secretsmanager:eu-central-1:111111111111:secret:x",
}
FEED: Final[dict[str, object]] = {"TableName": "weather", "PartitionKey": "station", "PartitionKeyType": "S"}
WEBHOOK: Final[dict[str, object]] = {
    "PrefectWebhookUrl": "https://prefect.example.com/hook",
    "PrefectApiKeySecretArn": "arn",
}
CASES: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "stack": ("stack.yaml", MAIL),
    "stack with a key": ("stack.yaml", MAIL | {"KmsKeyArn": KEY}),
    "stack with a webhook": ("stack.yaml", MAIL | WEBHOOK),
    "stack with another bucket": ("stack.yaml", MAIL | {"ProcessedBucketName": "archive"}),
    "stack of existing things": ("stack.yaml", MAIL | EXISTING),
    "ecs": ("ecs.yaml", ECS),
    "ecs with a key": ("ecs.yaml", ECS | {"KmsKeyArn": KEY, "PrefectApiPort": 4200}),
    "ecs with runs in the worker": ("ecs.yaml", ECS | {"RunsIn": "worker"}),
    "monitoring": ("monitoring.yaml", {"AlarmTopicArn": "arn", "EcsStack": "ecs", "HoursWithoutLoad": 24}),
    "feed": ("feed.yaml", FEED),
    "feed with a key": ("feed.yaml", FEED | {"KmsKeyArn": KEY}),
}
WITH_KEY: Final = [case for case in CASES if case.endswith("a key")]

Resources = dict[str, dict[str, Any]]


@pytest.fixture(params=CASES)
def resources(request: pytest.FixtureRequest) -> Resources:
    name, parameters = CASES[request.param]
    return dict(rendered(name, **parameters)["Resources"])


def of_type(resources: Resources, *types: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, each in resources.items():
        if each["Type"] in {f"AWS::{wanted}" for wanted in types}:
            yield name, each, each.get("Properties", {})


def statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and statement of all policies that allow a role something."""
    for name, _, properties in of_type(resources, "IAM::Role", "IAM::ManagedPolicy", "IAM::Policy"):
        documents = [each["PolicyDocument"] for each in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        for document in documents:
            for statement in document["Statement"]:
                yield f"{name}: {statement['Sid']}", statement


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 - a member of a policy
    return value if isinstance(value, list) else [value]


def test_each_template_is_among_the_cases() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {name for name, _ in CASES.values()}


# ---- Encryption -----------------------------------------------------------------------------------------------------


def test_queues_are_encrypted_sqs_1(resources: Resources) -> None:
    for name, _, queue in of_type(resources, "SQS::Queue"):
        assert bool(queue["SqsManagedSseEnabled"]) != ("KmsMasterKeyId" in queue), name


def test_buckets_are_encrypted_versioned_and_closed_s3_1_s3_8_s3_14(resources: Resources) -> None:
    for _, _, bucket in of_type(resources, "S3::Bucket"):
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize("case", WITH_KEY)
def test_a_key_of_ones_own_encrypts_everything_and_may_be_used_for_nothing_else(case: str) -> None:
    """Source: "Using AWS KMS encryption with ..." in the guides of S3, SQS, DynamoDB and CloudWatch Logs."""
    name, parameters = CASES[case]
    resources = rendered(name, **parameters)["Resources"]
    for resource, _, properties in of_type(resources, "S3::Bucket", "SQS::Queue", "DynamoDB::Table", "Logs::LogGroup"):
        assert KEY in json.dumps(properties), resource
    for sid, statement in statements(resources):
        if any(action.startswith("kms:") for action in as_list(statement["Action"])):
            assert statement["Resource"] == KEY, sid
            assert statement["Condition"]["StringEquals"]["kms:ViaService"], sid


def test_without_a_key_of_ones_own_no_role_may_use_kms() -> None:
    for name, parameters in (CASES[case] for case in CASES if case not in WITH_KEY):
        assert "kms:" not in json.dumps(rendered(name, **parameters)["Resources"])


# ---- TLS ------------------------------------------------------------------------------------------------------------


def test_buckets_and_queues_refuse_requests_without_tls_s3_5(resources: Resources) -> None:
    """Also "Enforce encryption of data in transit", security best practices of the Amazon SQS developer guide."""
    closed = {
        each["Ref"]
        for _, _, policy in of_type(resources, "S3::BucketPolicy", "SQS::QueuePolicy")
        for each in [policy.get("Bucket"), *policy.get("Queues", [])]
        if each and {"Bool": {"aws:SecureTransport": "false"}} in _denials(policy)
    }
    assert {name for name, _, _ in of_type(resources, "S3::Bucket", "SQS::Queue")} == closed


def _denials(policy: dict[str, Any]) -> list[Any]:
    return [each["Condition"] for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]


@pytest.mark.parametrize(
    ("template", "parameter"), [("ecs.yaml", "PrefectApiUrl"), ("stack.yaml", "PrefectWebhookUrl")]
)
def test_prefect_gets_secrets_by_https_only(template: str, parameter: str) -> None:
    pattern = rendered(template)["Parameters"][parameter]["AllowedPattern"]
    assert "https://" in pattern
    assert "https?://" not in pattern


# ---- Who may do what ------------------------------------------------------------------------------------------------


def test_no_statement_allows_all_actions_resources_or_principals_iam_1_iam_21(resources: Resources) -> None:
    without_resources = {"DescribeWhatKnowsNoResources", "LogInToTheRegistry"}
    for sid, statement in statements(resources):
        assert not [action for action in as_list(statement["Action"]) if "*" in action], sid
        assert "*" not in as_list(statement["Resource"]) or statement["Sid"] in without_resources, sid
        assert statement["Effect"] == "Allow", sid
    for name, _, policy in of_type(resources, "S3::BucketPolicy", "SQS::QueuePolicy", "SNS::TopicPolicy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Deny" or statement["Principal"] != "*", name


def test_a_service_may_act_for_this_account_only(resources: Resources) -> None:
    """Source: "The confused deputy problem", IAM user guide; for tasks "Amazon ECS task IAM role", ECS developer guide.

    The page about the task execution role has no such condition, so the role of that kind has none either.
    """
    for name, _, role in of_type(resources, "IAM::Role"):
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            given = statement.get("Condition", {}).get("StringEquals", {})
            assert name == "ExecutionRole" or given.get("aws:SourceAccount") == {"Ref": "AWS::AccountId"}, name
            assert statement["Principal"]["Service"] != "ec2.amazonaws.com", name
    for name, _, policy in of_type(resources, "SQS::QueuePolicy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Deny" or "aws:SourceArn" in statement["Condition"]["ArnEquals"], name


def test_roles_trust_only_what_has_them() -> None:
    for template in (rendered("stack.yaml", **MAIL), rendered("ecs.yaml", **ECS)):
        for name, _, role in of_type(template["Resources"], "IAM::Role"):
            [statement] = role["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}, name


def test_files_go_only_to_buckets_of_a_named_account(resources: Resources) -> None:
    """The name of a deleted bucket is free for any account. Source: aws:ResourceAccount, IAM user guide."""
    for sid, statement in statements(resources):
        if any(action.startswith("s3:") for action in as_list(statement["Action"])):
            assert statement["Condition"]["StringEquals"]["aws:ResourceAccount"], sid


def test_files_go_to_another_account_only_if_it_is_named() -> None:
    def account(**more: object) -> object:
        given = MAIL | {"ProcessedBucketName": "archive"} | more
        return dict(statements(rendered("stack.yaml", **given)["Resources"]))["RunPolicy: PutInTheProcessedBucket"][
            "Condition"
        ]["StringEquals"]["aws:ResourceAccount"]

    assert account() == {"Ref": "AWS::AccountId"}
    assert account(ProcessedBucketAccount="222222222222") == "222222222222"


def test_mail_goes_only_to_recipients_of_the_patterns_if_there_are_any() -> None:
    def condition(**more: object) -> object:
        return dict(statements(rendered("stack.yaml", **(MAIL | more))["Resources"]))["RunPolicy: SendMailAsTheSender"][
            "Condition"
        ]

    by_sender = {"StringEquals": {"ses:FromAddress": "sensors@example.com"}}
    assert condition() == by_sender
    assert condition(RecipientPatterns="*@example.com,ada@example.org") == by_sender | {
        "ForAllValues:StringLike": {"ses:Recipients": ["*@example.com", "ada@example.org"]}
    }


# ---- Data outlives mistakes -----------------------------------------------------------------------------------------


def test_tables_are_protected_and_recoverable_dynamodb_2_dynamodb_6(resources: Resources) -> None:
    for name, _, table in of_type(resources, "DynamoDB::Table"):
        assert table["DeletionProtectionEnabled"] is True, name
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name


def test_data_and_what_protects_it_outlive_the_stack(resources: Resources) -> None:
    for name, resource, _ in of_type(resources, "S3::Bucket", "S3::BucketPolicy", "DynamoDB::Table"):
        assert resource["DeletionPolicy"].startswith("Retain"), name
        assert resource["UpdateReplacePolicy"] == "Retain", name


def test_a_stack_that_fails_does_not_get_stuck_on_a_protected_table(resources: Resources) -> None:
    """A table that is deleted on failure must be the last resource; DynamoDB refuses to delete a protected one."""
    for name, resource, _ in of_type(resources, "DynamoDB::Table"):
        others = {other for other, each in resources.items() if each["Type"] != "AWS::DynamoDB::Table"}
        assert resource["DeletionPolicy"] == "Retain" or others == set(as_list(resource["DependsOn"])), name


def test_logs_are_kept_for_a_time_cloudwatch_16(resources: Resources) -> None:
    for name, _, logs in of_type(resources, "Logs::LogGroup"):
        assert logs["RetentionInDays"] >= 30, name


# ---- Tasks ----------------------------------------------------------------------------------------------------------


def test_tasks_write_to_two_volumes_only_and_are_not_privileged_ecs_4_ecs_5(resources: Resources) -> None:
    for name, _, task in of_type(resources, "ECS::TaskDefinition"):
        [container] = task["ContainerDefinitions"]
        assert container["ReadonlyRootFilesystem"] is True, name
        assert "Privileged" not in container, name
        assert {each["SourceVolume"] for each in container["MountPoints"]} == {each["Name"] for each in task["Volumes"]}
        assert task["TaskRoleArn"] != task["ExecutionRoleArn"], name


def test_tasks_connect_to_the_ports_of_https_only() -> None:
    def ports(**more: object) -> list[tuple[str, str, str]]:
        group = rendered("ecs.yaml", **(ECS | more))["Resources"]["OutboundOnly"]["Properties"]
        return [
            (each["IpProtocol"], str(each.get("FromPort")), str(each.get("ToPort")))
            for each in group["SecurityGroupEgress"]
        ]

    assert ports() == [("tcp", "443", "443")]
    assert ports(PrefectApiPort=4200) == [("tcp", "443", "443"), ("tcp", "4200", "4200")]


def test_images_come_from_one_repository() -> None:
    role = rendered("ecs.yaml", **ECS)["Resources"]["ExecutionRole"]["Properties"]
    [pull] = [each for each in role["Policies"][0]["PolicyDocument"]["Statement"] if each["Sid"] == "PullTheImage"]
    assert pull["Resource"]["Fn::Sub"].endswith(":repository/${RepositoryName}")


def test_the_worker_may_pass_two_roles_to_tasks_only() -> None:
    resources = rendered("ecs.yaml", **ECS)["Resources"]
    passing = [each for _, each in statements(resources) if "iam:PassRole" in as_list(each["Action"])]
    assert [len(each["Resource"]) for each in passing] == [2]
    assert passing[0]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


# ---- Alarms ---------------------------------------------------------------------------------------------------------


def test_alarms_notify_a_topic_cloudwatch_15(resources: Resources) -> None:
    for name, _, alarm in of_type(resources, "CloudWatch::Alarm"):
        assert alarm["AlarmActions"], name
        assert alarm["TreatMissingData"] in ("breaching", "notBreaching"), name


def test_an_alarm_looks_back_no_longer_than_cloudwatch_permits() -> None:
    """Seven days with periods of an hour, else one day. Source: "PutMetricAlarm", CloudWatch API reference."""
    template = rendered("monitoring.yaml", AlarmTopicArn="arn", EcsStack="ecs", HoursWithoutLoad=168)
    for name, _, alarm in of_type(template["Resources"], "CloudWatch::Alarm"):
        metrics = [each["MetricStat"]["Period"] for each in alarm.get("Metrics", []) if "MetricStat" in each]
        period = alarm.get("Period") or max(metrics)
        assert period * int(alarm["EvaluationPeriods"]) <= (7 if period >= 3600 else 1) * 86400, name
