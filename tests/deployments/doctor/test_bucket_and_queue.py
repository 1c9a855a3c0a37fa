"""A file was uploaded and no relay sees it: what the doctor finds about the bucket, the rule and the queue."""

import json
import shlex
from typing import Any

import pytest

from deployments.doctor import queue
from tests.deployments.doctor.problems import assert_problem, assert_warning, repaired_by
from tests.support.deployed_system import DeployedSystem


def test_a_bucket_that_does_not_notify_eventbridge(deployed_system: DeployedSystem) -> None:
    s3, bucket = deployed_system.aws.client("s3"), deployed_system.outputs.bucket_name
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    enabled: dict[str, Any] = {"EventBridgeConfiguration": {}}
    with repaired_by(
        lambda: s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=enabled)
    ):
        found = deployed_system.result_of("bucket events")
    assert_problem(found, "does not notify EventBridge", "put-bucket-notification-configuration")


def test_a_rule_that_is_disabled(deployed_system: DeployedSystem) -> None:
    events, rule = deployed_system.aws.client("events"), deployed_system.rule_name
    events.disable_rule(Name=rule)
    with repaired_by(lambda: events.enable_rule(Name=rule)):
        found = deployed_system.result_of("rule")
    assert_problem(found, "it is disabled", f"aws events enable-rule --name {rule}")


def test_a_rule_that_was_deleted_and_the_checks_that_are_skipped_without_it(deployed_system: DeployedSystem) -> None:
    events, rule = deployed_system.aws.client("events"), deployed_system.rule_name
    pattern = events.describe_rule(Name=rule)["EventPattern"]
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]

    def repair() -> None:
        events.put_rule(Name=rule, EventPattern=pattern)
        events.put_targets(Rule=rule, Targets=targets)

    events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
    with repaired_by(repair):
        assert_problem(deployed_system.result_of("rule target"), "does not send to the queue", "stack.yaml")
        events.delete_rule(Name=rule)
        results = deployed_system.results_of("rule target")
    assert_problem(results["rule"], "was deleted", "stack.yaml")
    assert "not checked: needs rule" in results["rule target"].seen


def test_a_rule_that_sends_to_a_webhook_is_ok(deployed_system: DeployedSystem) -> None:
    events, rule = deployed_system.aws.client("events"), deployed_system.rule_name
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    destination = (
        deployed_system.attributes(deployed_system.outputs.queue_url)["QueueArn"]
        .rsplit(":", 1)[0]
        .replace(":sqs:", ":events:")
    )
    webhook = {
        "Arn": f"{destination}:api-destination/webhook/0b5e",
        "RoleArn": "arn:aws:iam::000000000000:role/webhook",
    }
    events.put_targets(Rule=rule, Targets=[{"Id": targets[0]["Id"], **webhook}])
    with repaired_by(lambda: events.put_targets(Rule=rule, Targets=targets)):
        found = deployed_system.result_of("rule target")
    assert ("ok", True) == (found.level, "API destination" in found.seen)


def test_a_queue_whose_policy_does_not_let_the_rule_send(deployed_system: DeployedSystem) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.queue_url
    policy = deployed_system.attributes(url)["Policy"]
    other = json.loads(policy)
    other["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] += "-of-others"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(other)})
    with repaired_by(lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})):
        found = deployed_system.result_of("queue policy")
        assert_problem(found, "the queue's policy does not let the rule send", "aws sqs set-queue-attributes")
        # The remedy, typed: its JSON is the attribute that the rule needs, beside the statements that were there.
        attributes = json.loads(shlex.split(found.remedy)[-1])
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        assert deployed_system.result_of("queue policy").level == "ok"
        assert json.loads(attributes["Policy"])["Statement"][:-1] == other["Statement"]


def test_a_dead_letter_queue_that_the_rule_may_not_send_to(deployed_system: DeployedSystem) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.dead_letter_queue_url
    policy = deployed_system.attributes(url)["Policy"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    with repaired_by(lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})):
        found = deployed_system.result_of("queue policy")
    assert_problem(found, "the dead-letter queue's policy does not let the rule send", f"--queue-url {url}")


def test_a_queue_without_a_dead_letter_queue(deployed_system: DeployedSystem) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.queue_url
    redrive = deployed_system.attributes(url)["RedrivePolicy"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    with repaired_by(lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})):
        found = deployed_system.result_of("queue")
        assert_problem(found, "no dead-letter queue", "aws sqs set-queue-attributes")
        attributes = json.loads(shlex.split(found.remedy)[-1])
        assert json.loads(attributes["RedrivePolicy"]) == json.loads(redrive)


def test_a_bucket_that_accepts_requests_without_tls(deployed_system: DeployedSystem) -> None:
    s3, bucket = deployed_system.aws.client("s3"), deployed_system.outputs.bucket_name
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    with repaired_by(lambda: s3.put_bucket_policy(Bucket=bucket, Policy=policy)):
        found = deployed_system.result_of("bucket policy")
        assert_warning(found, "accepts requests without TLS", "aws s3api put-bucket-policy")
        s3.put_bucket_policy(Bucket=bucket, Policy=shlex.split(found.remedy)[-1])
        assert deployed_system.result_of("bucket policy").level == "ok"


def test_a_table_without_deletion_protection(deployed_system: DeployedSystem) -> None:
    dynamodb, table = deployed_system.aws.client("dynamodb"), deployed_system.outputs.files_table_name
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    with repaired_by(lambda: dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)):
        found = deployed_system.result_of("files table")
    assert_warning(found, "no deletion protection", "--deletion-protection-enabled")


def test_messages_that_no_relay_receives(deployed_system: DeployedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.queue_url
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    with repaired_by(lambda: sqs.purge_queue(QueueUrl=url)):
        found = deployed_system.result_of("backlog")
        monkeypatch.setattr(queue, "oldest_age_seconds", lambda *_: 61.0)
        old = deployed_system.result_of("backlog")
        sqs.receive_message(QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="{}")
        in_flight = deployed_system.result_of("backlog")
    assert_warning(
        found, "1 message(s) wait, the oldest of unknown age", "if their number does not fall, start a relay"
    )
    assert_warning(old, "the oldest 61 s old, 0 in flight", "is a relay running?")
    assert_warning(in_flight, "the oldest 61 s old, 1 in flight", "if their number does not fall")


def test_a_bucket_without_versioning(deployed_system: DeployedSystem) -> None:
    s3, bucket = deployed_system.aws.client("s3"), deployed_system.outputs.bucket_name
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    enabled = {"Status": "Enabled"}
    with repaired_by(lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)):
        found = deployed_system.result_of("bucket versioning")
    assert_warning(found, "versioning is Suspended", "put-bucket-versioning")
