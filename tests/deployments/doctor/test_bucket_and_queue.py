"""A file was uploaded and no relay sees it: what the doctor finds about the bucket, the rule and the queue."""

import json
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
    assert_problem(found, "does not let the rule send", "stack.yaml")


def test_messages_that_no_relay_receives(deployed_system: DeployedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.queue_url
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    with repaired_by(lambda: sqs.purge_queue(QueueUrl=url)):
        found = deployed_system.result_of("backlog")
        monkeypatch.setattr(queue, "_oldest_age_seconds", lambda *_: 61.0)
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
