"""Checks of the path from the bucket to the relay: rule, queue, policy, backlog, dead letters."""

import json
import shlex
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from botocore.exceptions import ClientError

from deployments.aws.queue_metrics import oldest_age_seconds
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem

_DEPLOY_STACK: Final = "deploy deployments/aws/stack.yaml again"
_SLOTS_TAKEN: Final = "all run slots are taken: check the workers"
_MAX_AGE_SECONDS: Final = 60
"""A relay with a free run slot receives a message within seconds."""
_CONSEQUENCE: Final = "uploads start no run before the next sweep"
_MAX_RECEIVE_COUNT: Final = 5
"""As in the template."""
_API_DESTINATION: Final = ":api-destination/"


def queue(system: InspectedSystem) -> CheckResult:
    """The queue exists and has a dead-letter queue."""
    try:
        attributes = system.queue(system.outputs.queue_url)
        dead_letter_queue = system.queue(system.outputs.dead_letter_queue_url)
    except ClientError as error:
        if "NonExistentQueue" not in error.response["Error"]["Code"]:
            raise
        return problem("the queue or its dead-letter queue does not exist", _DEPLOY_STACK)
    if json.loads(attributes.get("RedrivePolicy", "{}")).get("deadLetterTargetArn") != dead_letter_queue["QueueArn"]:
        redrive = {"deadLetterTargetArn": dead_letter_queue["QueueArn"], "maxReceiveCount": _MAX_RECEIVE_COUNT}
        return problem(
            "it has no dead-letter queue, so an invalid message is received again for ever",
            _set_attribute(system.outputs.queue_url, "RedrivePolicy", redrive),
        )
    return ok(attributes["QueueArn"])


def rule(system: InspectedSystem) -> CheckResult:
    """The rule exists, is enabled, and matches the bucket and the prefix."""
    try:
        found = system.rule
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        remedy = f"{_DEPLOY_STACK}, under a new name if CloudFormation does not create the rule"
        return problem(f"the rule {system.rule_name} was deleted: {_CONSEQUENCE}", remedy)
    if found["State"] == "DISABLED":
        return problem(f"it is disabled: {_CONSEQUENCE}", f"aws events enable-rule --name {system.rule_name}")
    detail = json.loads(found.get("EventPattern", "{}")).get("detail", {})
    buckets, keys = detail.get("bucket", {}).get("name", []), detail.get("object", {}).get("key", [])
    if system.outputs.bucket_name not in buckets or {"prefix": system.outputs.incoming_prefix} not in keys:
        return problem(f"it matches other files: {found.get('EventPattern')}", _DEPLOY_STACK)
    return ok(f"{system.rule_name} is enabled")


def rule_target(system: InspectedSystem) -> CheckResult:
    """The rule sends to the queue, or to the webhook that the stack can have instead."""
    targets = [each["Arn"] for each in system.client("events").list_targets_by_rule(Rule=system.rule_name)["Targets"]]
    if any(_API_DESTINATION in target for target in targets):
        return ok("the rule sends to an API destination: no relay is needed")
    if system.queue(system.outputs.queue_url)["QueueArn"] not in targets:
        return problem(f"the rule does not send to the queue: {_CONSEQUENCE}", _DEPLOY_STACK)
    return ok("the rule sends to the queue")


def queue_policy(system: InspectedSystem) -> CheckResult:
    """The policies of the queue and of its dead-letter queue let the rule send."""
    rule_arn = system.rule["Arn"]
    for url, name, consequence in (
        (system.outputs.queue_url, "queue", _CONSEQUENCE),
        (system.outputs.dead_letter_queue_url, "dead-letter queue", "an event that cannot be delivered is lost"),
    ):
        attributes = system.queue(url)
        policy = json.loads(attributes.get("Policy", "{}"))
        statements = policy.get("Statement", [])
        if not any(_allows(each, attributes["QueueArn"], rule_arn) for each in statements):
            wanted = {
                "Version": "2012-10-17",
                **policy,
                "Statement": [*statements, _send(attributes["QueueArn"], rule_arn)],
            }
            return problem(
                f"the {name}'s policy does not let the rule send: {consequence}", _set_attribute(url, "Policy", wanted)
            )
    return ok("the rule may send")


def _send(queue_arn: str, rule_arn: str) -> dict[str, Any]:
    """The statement that the template has for queues of its own."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }


def _set_attribute(queue_url: str, name: str, value: Mapping[str, Any]) -> str:
    """What to type to set a queue's attribute: also right for a queue that the stack did not create."""
    attributes = shlex.quote(json.dumps({name: json.dumps(value)}))
    return f"aws sqs set-queue-attributes --queue-url {queue_url} --attributes {attributes}"


def _allows(statement: Mapping[str, Any], queue_arn: str, rule_arn: str) -> bool:
    """Whether the statement allows the rule to send; conditions on anything but the source are ignored."""
    principal = statement.get("Principal", {})
    services = ["*"] if principal == "*" else [*_as_list(principal.get("Service")), *_as_list(principal.get("AWS"))]
    sources = [
        source
        for operator in statement.get("Condition", {}).values()
        for key, value in operator.items()
        if key.lower() == "aws:sourcearn"
        for source in _as_list(value)
    ]
    return (
        statement.get("Effect") == "Allow"
        and bool({"*", "events.amazonaws.com"} & set(services))
        and any(fnmatchcase("sqs:sendmessage", action.lower()) for action in _as_list(statement.get("Action")))
        and any(fnmatchcase(queue_arn, resource) for resource in _as_list(statement.get("Resource")))
        and (not sources or any(fnmatchcase(rule_arn, source) for source in sources))
    )


def _as_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def backlog(system: InspectedSystem) -> CheckResult:
    """No message waits for a relay. A few messages are normal as long as their number falls."""
    attributes = system.queue(system.outputs.queue_url)
    waiting, in_flight = (
        int(attributes.get(name, "0"))
        for name in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    )
    if not waiting:
        return ok(f"no message waits, {in_flight} in flight")
    age = oldest_age_seconds(system.client("cloudwatch"), attributes["QueueArn"])
    oldest = "of unknown age" if age is None else f"{age:.0f} s old"
    seen = f"{waiting} message(s) wait, the oldest {oldest}, {in_flight} in flight"
    if not in_flight and age is not None and age > _MAX_AGE_SECONDS:
        return warning(seen, f"is a relay running? If not, `sensor-ingest relay`; if so, {_SLOTS_TAKEN}")
    return warning(seen, f"if their number does not fall, start a relay (`sensor-ingest relay`), or {_SLOTS_TAKEN}")


def dead_letters(system: InspectedSystem) -> CheckResult:
    """No message is in the dead-letter queue: EventBridge delivered all, and the relay processed all."""
    count = int(system.queue(system.outputs.dead_letter_queue_url)["ApproximateNumberOfMessages"])
    if count:
        return warning(f"{count} dead letter(s)", "`sensor-ingest redrive` moves them back into the queue")
    return ok("none")


CHECKS: Final = (
    Check("queue", queue, ("stack",)),
    Check("rule", rule, ("stack",)),
    Check("rule target", rule_target, ("rule", "queue")),
    Check("queue policy", queue_policy, ("rule", "queue")),
    Check("backlog", backlog, ("queue",)),
    Check("dead letters", dead_letters, ("queue",)),
)
