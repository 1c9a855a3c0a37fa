"""The template, deployed in the emulator."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it carries no types

from blocks.domain.errors import StackFailedError, StackMissingError
from blocks.file_ledger.table import DUE_INDEX, MONTH_INDEX
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import TEMPLATE, ensure_stack
from tests.support.servers import Aws
from tests.support.waiting import eventually

STACK = "stack-under-test"
PARAMETERS = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com, bob@example.com"}


@pytest.fixture(scope="module")
def stack(aws: Aws) -> StackOutputs:
    return ensure_stack(aws.client("cloudformation"), STACK, PARAMETERS)


def last_event_id(aws: Aws, stack_name: str) -> str:
    events = aws.client("cloudformation").describe_stack_events(StackName=stack_name)["StackEvents"]
    return str(events[0]["EventId"])


def received_keys(aws: Aws, queue_url: str) -> list[str]:
    """The object keys of the messages in the queue, which are then deleted."""
    sqs = aws.client("sqs")
    messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"])["detail"]["object"]["key"] for message in messages]


def statements(aws: Aws, role_arn: str) -> dict[str, Any]:
    """The statements of all policies of that role, by their Sid."""
    iam = aws.client("iam")
    by_sid: dict[str, Any] = {}
    for policy in iam.list_attached_role_policies(RoleName=role_arn.rsplit("/", maxsplit=1)[-1])["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
        answer = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
        by_sid |= {each["Sid"]: each for each in answer["PolicyVersion"]["Document"]["Statement"]}
    return by_sid


def allowed_actions(aws: Aws, role_arn: str) -> dict[str, list[str]]:
    return {
        sid: [statement["Action"]] if isinstance(statement["Action"], str) else sorted(statement["Action"])
        for sid, statement in statements(aws, role_arn).items()
    }


def table(aws: Aws, name: str) -> Any:  # noqa: ANN401
    return aws.client("dynamodb").describe_table(TableName=name)["Table"]


def keys_of(schema: list[dict[str, str]]) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}


def types_of(described: dict[str, Any]) -> dict[str, str]:
    return {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}


# ---- Creating it --------------------------------------------------------------------------------------------------


def test_ensuring_a_stack_that_is_up_to_date_changes_nothing(aws: Aws, stack: StackOutputs) -> None:
    before = last_event_id(aws, STACK)
    assert stack == ensure_stack(aws.client("cloudformation"), STACK, PARAMETERS)
    assert before == last_event_id(aws, STACK)


def test_ensuring_a_stack_with_other_parameters_updates_it_and_keeps_bucket_and_tables(aws: Aws) -> None:
    client = aws.client("cloudformation")
    first = ensure_stack(client, "stack-to-update", PARAMETERS)
    second = ensure_stack(client, "stack-to-update", PARAMETERS | {"Recipients": "eve@example.com"})
    assert first.model_copy(update={"recipients": ("eve@example.com",)}) == second


def test_a_stack_that_cannot_be_created_fails_naming_the_resource_and_the_reason_and_can_be_created_later(
    aws: Aws,
) -> None:
    aws.client("s3").create_bucket(
        Bucket="taken-by-another", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    client = aws.client("cloudformation")
    with pytest.raises(StackFailedError, match=r"(?s)stack-to-fail.*LandingBucket.*taken-by-another.*exists"):
        ensure_stack(client, "stack-to-fail", PARAMETERS | {"BucketName": "taken-by-another"})
    assert ensure_stack(client, "stack-to-fail", PARAMETERS | {"BucketName": "free-to-take"}).bucket_name == (
        "free-to-take"
    )


def test_data_outlives_the_stack_and_does_not_block_the_next_one(aws: Aws) -> None:
    client = aws.client("cloudformation")
    first = ensure_stack(client, "stack-to-delete", PARAMETERS)
    client.delete_stack(StackName="stack-to-delete")
    client.get_waiter("stack_delete_complete").wait(StackName="stack-to-delete", WaiterConfig={"Delay": 1})
    buckets = {bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]}
    assert first.bucket_name in buckets
    for table in (first.readings_table_name, first.files_table_name):
        assert aws.client("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    assert ensure_stack(client, "stack-to-delete", PARAMETERS).bucket_name


# ---- Reading it ---------------------------------------------------------------------------------------------------


def test_the_error_for_a_missing_stack_names_the_region_the_endpoint_and_the_remedy(aws: Aws) -> None:
    with pytest.raises(StackMissingError, match=r"no-such-stack.*eu-central-1.*127\.0\.0\.1.*cloudformation deploy"):
        StackOutputs.read("no-such-stack", aws.client("cloudformation"))


def test_the_error_for_a_stack_of_another_template_names_the_missing_outputs(aws: Aws) -> None:
    client = aws.client("cloudformation")
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    client.create_stack(StackName="stack-of-others", TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName="stack-of-others", WaiterConfig={"Delay": 1})
    with pytest.raises(StackMissingError, match=r"stack-of-others.*BucketName, .*QueueUrl"):
        StackOutputs.read("stack-of-others", client)


def test_the_outputs_name_the_bucket_the_prefix_and_the_addresses(stack: StackOutputs) -> None:
    assert stack.incoming_prefix == "incoming/"
    assert stack.processed_bucket_name == stack.bucket_name
    assert stack.sender_address == "sensors@example.com"
    assert stack.recipients == ("ada@example.com", "bob@example.com")
    assert stack.region == "eu-central-1"


# ---- From the bucket to the queue ---------------------------------------------------------------------------------


def test_an_object_under_incoming_arrives_in_the_queue_and_one_under_processed_does_not(
    aws: Aws, stack: StackOutputs
) -> None:
    s3 = aws.client("s3")
    s3.put_object(Bucket=stack.bucket_name, Key="processed/old.csv", Body=b"0000-0001,1483906366,10.10\n")
    s3.put_object(Bucket=stack.bucket_name, Key="incoming/a b+c%é.csv", Body=b"0000-0001,1483906366,10.10\n")
    keys = eventually(lambda: received_keys(aws, stack.queue_url), 60, "a message about the object under incoming/")
    # Events of one bucket come in the order of the puts here, so the first one would have come by now.
    assert keys == ["incoming/a b+c%é.csv"]


def test_only_the_rule_may_send_to_the_queues(aws: Aws, stack: StackOutputs) -> None:
    for url in (stack.queue_url, stack.dead_letter_queue_url):
        attributes = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        statement, refusal = json.loads(attributes["Policy"])["Statement"]
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert ":rule/stack-under-test-FileArrived" in statement["Condition"]["ArnEquals"]["aws:SourceArn"]
        assert refusal["Effect"] == "Deny"
        assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert attributes["SqsManagedSseEnabled"] == "true"


def test_a_message_that_was_received_five_times_becomes_a_dead_letter_and_is_retained_longer(
    aws: Aws, stack: StackOutputs
) -> None:
    sqs = aws.client("sqs")
    queue = sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=["All"])["Attributes"]
    dead = sqs.get_queue_attributes(QueueUrl=stack.dead_letter_queue_url, AttributeNames=["All"])["Attributes"]
    assert json.loads(queue["RedrivePolicy"]) == {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 5}
    assert int(queue["MessageRetentionPeriod"]) < int(dead["MessageRetentionPeriod"])


# ---- Properties of the resources ----------------------------------------------------------------------------------


def test_the_bucket_is_versioned_encrypted_and_private(aws: Aws, stack: StackOutputs) -> None:
    s3 = aws.client("s3")
    assert s3.get_bucket_versioning(Bucket=stack.bucket_name)["Status"] == "Enabled"
    [rule] = s3.get_bucket_encryption(Bucket=stack.bucket_name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    block = s3.get_public_access_block(Bucket=stack.bucket_name)["PublicAccessBlockConfiguration"]
    assert block == dict.fromkeys(
        ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"], True
    )
    [statement] = json.loads(s3.get_bucket_policy(Bucket=stack.bucket_name)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_readings_table_is_billed_per_request_and_keyed_by_sensor_and_second(aws: Aws, stack: StackOutputs) -> None:
    readings = table(aws, stack.readings_table_name)
    assert keys_of(readings["KeySchema"]) == {"HASH": "sensor_id", "RANGE": "timestamp"}
    assert types_of(readings) == {"sensor_id": "S", "timestamp": "N"}
    assert readings["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


NEW_INDEXES = {
    "by-month": {"HASH": "month", "RANGE": "claimed_at"},
    "by-due-time": {"HASH": "waits_for", "RANGE": "next_try_at"},
}
UNFINISHED = {"unfinished": {"HASH": "unfinished", "RANGE": "claimed_at"}}
IN_HAND = {"in-hand": {"HASH": "in_hand", "RANGE": "lease_until"}}


def indexes_of(ledger: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {index["IndexName"]: keys_of(index["KeySchema"]) for index in ledger["GlobalSecondaryIndexes"]}


def test_the_ledger_is_keyed_by_file_and_version_with_indexes_by_month_and_by_due_time(
    aws: Aws, stack: StackOutputs
) -> None:
    ledger = table(aws, stack.files_table_name)
    assert keys_of(ledger["KeySchema"]) == {"HASH": "file", "RANGE": "version"}
    assert types_of(ledger) == dict.fromkeys(
        ("file", "version", "month", "claimed_at", "waits_for", "next_try_at"), "S"
    )
    assert indexes_of(ledger) == NEW_INDEXES
    projections = {each["IndexName"]: each["Projection"]["ProjectionType"] for each in ledger["GlobalSecondaryIndexes"]}
    assert projections == {MONTH_INDEX: "ALL", DUE_INDEX: "KEYS_ONLY"}
    assert ledger["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize(
    ("kept", "old_indexes", "old_attributes"),
    [
        ("both", UNFINISHED | IN_HAND, ("unfinished", "in_hand", "lease_until")),
        ("one", UNFINISHED, ("unfinished",)),
        ("none", {}, ()),
    ],
)
def test_a_stack_of_version_0_1_loses_its_indexes_one_at_a_time(
    aws: Aws, kept: str, old_indexes: dict[str, dict[str, str]], old_attributes: tuple[str, ...]
) -> None:
    """DynamoDB makes one index change at a time, so each step has one index less, and the first one the new index."""
    outputs = ensure_stack(
        aws.client("cloudformation"), f"stack-of-0-1-{kept}", PARAMETERS | {"IndexesOfVersion01": kept}
    )
    ledger = table(aws, outputs.files_table_name)
    assert indexes_of(ledger) == NEW_INDEXES | old_indexes
    names = ("file", "version", "month", "claimed_at", "waits_for", "next_try_at", *old_attributes)
    assert types_of(ledger) == dict.fromkeys(names, "S"), "DynamoDB refuses attributes that no index uses"


def test_the_sender_may_send(aws: Aws, stack: StackOutputs) -> None:
    identity = aws.client("sesv2").get_email_identity(EmailIdentity=stack.sender_address)
    assert identity["VerifiedForSendingStatus"]


# ---- Properties that the emulator ignores: read from the template --------------------------------------------------


def properties(resource: str) -> Any:  # noqa: ANN401
    return cfn_yaml.loads(TEMPLATE.read_text(encoding="utf-8"))["Resources"][resource]["Properties"]


@pytest.mark.parametrize("resource", ["ReadingsTable", "FilesTable"])
def test_tables_have_point_in_time_recovery(resource: str) -> None:
    assert properties(resource)["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_noncurrent_versions_expire_after_90_days_and_current_ones_never() -> None:
    rules = properties("LandingBucket")["LifecycleConfiguration"]["Rules"]
    assert [rule["NoncurrentVersionExpiration"] for rule in rules if "NoncurrentVersionExpiration" in rule] == [
        {"NoncurrentDays": 90}
    ]
    assert all("ExpirationInDays" not in rule and "ExpirationDate" not in rule for rule in rules)


# ---- Permissions: listed in full, so that widening them is deliberate -----------------------------------------------


def test_the_relay_may_take_messages_off_the_queue_and_keep_due_times_and_nothing_else(
    aws: Aws, stack: StackOutputs
) -> None:
    assert allowed_actions(aws, stack.relay_role_arn) == {
        "TakeArrivals": [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        ],
        "KeepDueTimes": ["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query"],
        "ReadDueTimes": ["dynamodb:Query"],
        "ReadOutputs": ["cloudformation:DescribeStacks"],
    }


def test_runs_may_move_files_store_rows_and_send_mail_and_nothing_else(aws: Aws, stack: StackOutputs) -> None:
    assert allowed_actions(aws, stack.run_role_arn) == {
        "List": ["s3:ListBucket"],
        "TakeFromIncoming": [
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:GetObjectTagging",
            "s3:GetObjectVersion",
            "s3:GetObjectVersionTagging",
        ],
        "PutWhereFilesGo": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"],
        "StoreReadings": ["dynamodb:BatchWriteItem"],
        "KeepTheLedger": ["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query"],
        "ReadTheLedgerByIndex": ["dynamodb:Query"],
        "SendMailAsTheSender": ["ses:SendEmail", "ses:SendRawEmail"],
    }


def test_runs_may_send_mail_as_the_sender_only(aws: Aws, stack: StackOutputs) -> None:
    statement = statements(aws, stack.run_role_arn)["SendMailAsTheSender"]
    assert statement["Condition"]["StringEquals"] == {"ses:FromAddress": "sensors@example.com"}


def test_runs_may_move_files_to_another_bucket_if_a_parameter_names_one(aws: Aws) -> None:
    parameters = PARAMETERS | {"ProcessedBucketName": "archive-of-others"}
    stack = ensure_stack(aws.client("cloudformation"), "stack-with-archive", parameters)
    assert stack.processed_bucket_name == "archive-of-others"
    assert statements(aws, stack.run_role_arn)["PutInTheProcessedBucket"]["Resource"] == [
        "arn:aws:s3:::archive-of-others",
        "arn:aws:s3:::archive-of-others/processed/*",
    ]


def test_the_relay_reads_and_writes_the_ledger_and_no_other_table(aws: Aws, stack: StackOutputs) -> None:
    by_sid = statements(aws, stack.relay_role_arn)
    ledger = table(aws, stack.files_table_name)["TableArn"]
    assert by_sid["KeepDueTimes"]["Resource"] == ledger
    assert by_sid["ReadDueTimes"]["Resource"] == f"{ledger}/index/*"


def test_no_statement_allows_all_actions_or_all_resources(aws: Aws, stack: StackOutputs) -> None:
    for role in (stack.relay_role_arn, stack.run_role_arn):
        for sid, statement in statements(aws, role).items():
            assert "*" not in json.dumps(statement["Action"]), sid
            assert statement["Resource"] != "*", sid


# ---- What exists already --------------------------------------------------------------------------------------------


def test_existing_things_are_used_and_none_is_created_in_their_place(aws: Aws, stack: StackOutputs) -> None:
    """The things of one stack are existing ones for another: bucket, queues, tables and sender."""

    def arn(url: str) -> str:
        answer = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    queue, dead = arn(stack.queue_url), arn(stack.dead_letter_queue_url)
    existing = {
        "ExistingBucketName": stack.bucket_name,
        "ExistingQueueArn": queue,
        "ExistingDeadLetterQueueArn": dead,
        "ExistingReadingsTableName": stack.readings_table_name,
        "ExistingFilesTableName": stack.files_table_name,
        "CreateSender": "no",
    }
    cloudformation = aws.client("cloudformation")
    second = ensure_stack(cloudformation, "stack-of-existing", PARAMETERS | existing)
    made = cloudformation.describe_stack_resources(StackName="stack-of-existing")["StackResources"]
    assert {each["LogicalResourceId"] for each in made} == {
        "FileArrived",
        "RelayPolicy",
        "RelayRole",
        "RunPolicy",
        "RunRole",
    }
    for name in ("bucket_name", "processed_bucket_name", "readings_table_name", "files_table_name", "sender_address"):
        assert getattr(second, name) == getattr(stack, name)
    assert second.queue_url.rpartition("/")[2] == stack.queue_url.rpartition("/")[2]
    for one, other in ((stack.run_role_arn, second.run_role_arn), (stack.relay_role_arn, second.relay_role_arn)):
        theirs, ours = statements(aws, one), statements(aws, other)
        assert {sid: each for sid, each in ours.items() if sid != "ReadOutputs"} == {
            sid: each for sid, each in theirs.items() if sid != "ReadOutputs"
        }
    names = [each["Name"] for each in aws.client("events").list_rules()["Rules"]]
    [rule] = [each for each in names if each.startswith("stack-of-existing")]
    [target] = aws.client("events").list_targets_by_rule(Rule=rule)["Targets"]
    assert (target["Arn"], target["DeadLetterConfig"]) == (queue, {"Arn": dead})


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"ExistingQueueArn": "arn:aws:sqs:eu-central-1:000000000000:theirs"}, "needs ExistingDeadLetterQueueArn"),
        ({"BucketName": "new-one", "ExistingBucketName": "old-one"}, "set one of them"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(aws: Aws, parameters: dict[str, str], reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        ensure_stack(aws.client("cloudformation"), "stack-of-contradictions", PARAMETERS | parameters)
