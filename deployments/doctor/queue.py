"""The way from the bucket to the relay: rule, queue, policy, what waits, and what was given up."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from deployments.doctor.findings import Check, Verdict, ok, problem, warning
from deployments.doctor.system import World

_DEPLOY_STACK: Final = "deploy deployments/aws/stack.yaml again"
_BUSY: Final = "all runs are busy: see that they get a worker"
_SOON_TAKEN_SECONDS: Final = 60
"""A relay that has runs free takes a message within seconds."""
_LOST: Final = "uploads start nothing before the next sweep"
_API_DESTINATION: Final = ":api-destination/"


def queue(world: World) -> Verdict:
    """The queue, and where it puts what nobody deals with."""
    try:
        attributes, dead = world.queue(world.outputs.queue_url), world.queue(world.outputs.dead_letter_queue_url)
    except ClientError as error:
        if "NonExistentQueue" not in error.response["Error"]["Code"]:
            raise
        return problem("the queue, or that of its dead letters, does not exist", _DEPLOY_STACK)
    if json.loads(attributes.get("RedrivePolicy", "{}")).get("deadLetterTargetArn") != dead["QueueArn"]:
        return problem(
            "it has no dead-letter queue, so a message that nobody understands comes for ever", _DEPLOY_STACK
        )
    return ok(attributes["QueueArn"])


def rule(world: World) -> Verdict:
    """The rule: there, enabled, about our bucket and prefix."""
    try:
        found = world.rule
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return problem(
            f"the rule {world.rule_name} was deleted: {_LOST}", f"{_DEPLOY_STACK}, under a new name if need be"
        )
    if found["State"] == "DISABLED":
        return problem(f"it is disabled: {_LOST}", f"aws events enable-rule --name {world.rule_name}")
    detail = json.loads(found.get("EventPattern", "{}")).get("detail", {})
    buckets, keys = detail.get("bucket", {}).get("name", []), detail.get("object", {}).get("key", [])
    expected = world.outputs.bucket_name, {"prefix": world.outputs.incoming_prefix}
    if expected[0] not in buckets or expected[1] not in keys:
        return problem(f"it is about other files: {found.get('EventPattern')}", _DEPLOY_STACK)
    return ok(f"{world.rule_name} is enabled")


def rule_target(world: World) -> Verdict:
    """The rule sends to our queue, or to the webhook that the stack may have in its place."""
    targets = [each["Arn"] for each in world.client("events").list_targets_by_rule(Rule=world.rule_name)["Targets"]]
    if any(_API_DESTINATION in target for target in targets):
        return ok("the rule sends to an API destination: no relay is needed")
    if world.queue(world.outputs.queue_url)["QueueArn"] not in targets:
        return problem(f"the rule does not send to the queue: {_LOST}", _DEPLOY_STACK)
    return ok("the rule sends to the queue")


def queue_policy(world: World) -> Verdict:
    """The queue lets the rule in."""
    attributes = world.queue(world.outputs.queue_url)
    statements = json.loads(attributes.get("Policy", "{}")).get("Statement", [])
    if not any(_lets_in(each, attributes["QueueArn"], world.rule["Arn"]) for each in statements):
        return problem(f"the queue's policy does not let the rule send: {_LOST}", _DEPLOY_STACK)
    return ok("the rule may send")


def _lets_in(statement: Mapping[str, Any], queue_arn: str, rule_arn: str) -> bool:
    """Whether the statement allows the rule to send; conditions other than on the source are taken as met."""
    principal = statement.get("Principal", {})
    services = ["*"] if principal == "*" else [*_listed(principal.get("Service")), *_listed(principal.get("AWS"))]
    sources = [
        source
        for operator in statement.get("Condition", {}).values()
        for key, value in operator.items()
        if key.lower() == "aws:sourcearn"
        for source in _listed(value)
    ]
    return (
        statement.get("Effect") == "Allow"
        and bool({"*", "events.amazonaws.com"} & set(services))
        and any(fnmatchcase("sqs:sendmessage", action.lower()) for action in _listed(statement.get("Action")))
        and any(fnmatchcase(queue_arn, resource) for resource in _listed(statement.get("Resource")))
        and (not sources or any(fnmatchcase(rule_arn, source) for source in sources))
    )


def _listed(value: str | list[str] | None) -> Iterator[str]:
    return iter([value] if isinstance(value, str) else value or [])


def backlog(world: World) -> Verdict:
    """What waits for a relay. A few messages are no trouble as long as they become fewer."""
    attributes = world.queue(world.outputs.queue_url)
    waiting, in_hand = (
        int(attributes.get(name, "0"))
        for name in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    )
    if not waiting:
        return ok(f"nothing waits, {in_hand} in a relay's hand")
    age = _oldest(world, attributes["QueueArn"])
    since = "of unknown age" if age is None else f"{age:.0f} s old"
    seen = f"{waiting} message(s) wait, the oldest {since}, {in_hand} in a relay's hand"
    if not in_hand and age is not None and age > _SOON_TAKEN_SECONDS:
        return warning(seen, f"is a relay running? if not, `sensor-ingest relay`; if it is, {_BUSY}")
    return warning(seen, f"if they do not become fewer, start a relay (`sensor-ingest relay`), or {_BUSY}")


def _oldest(world: World, queue_arn: str) -> float | None:
    """The age of the oldest message; SQS itself does not say, CloudWatch does, a minute or more late."""
    now = datetime.now(UTC)
    try:
        points = world.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue_arn.rpartition(":")[2]}],
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
    except (BotoCoreError, ClientError):
        points = []
    return max(points, key=lambda point: point["Timestamp"])["Maximum"] if points else None


def dead_letters(world: World) -> Verdict:
    """What EventBridge could not deliver, or no relay could deal with."""
    count = int(world.queue(world.outputs.dead_letter_queue_url)["ApproximateNumberOfMessages"])
    if count:
        return warning(f"{count} message(s) were given up", "`sensor-ingest redrive` puts them back into the queue")
    return ok("none")


CHECKS: Final = (
    Check("queue", queue, ("stack",)),
    Check("rule", rule, ("stack",)),
    Check("rule target", rule_target, ("rule", "queue")),
    Check("queue policy", queue_policy, ("rule", "queue")),
    Check("backlog", backlog, ("queue",)),
    Check("dead letters", dead_letters, ("queue",)),
)
