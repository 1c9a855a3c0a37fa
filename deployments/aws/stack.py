"""The CloudFormation stack of `aws/stack.yaml`, created or updated; the same template serves AWS and the emulator."""

import uuid
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError, WaiterError

from blocks.domain.errors import StackFailedError
from blocks.stack_outputs import StackOutputs, find_stack

if TYPE_CHECKING:
    from datetime import datetime
    from importlib.resources.abc import Traversable

    from mypy_boto3_cloudformation import CloudFormationClient

TEMPLATE: Final = files("deployments").joinpath("aws", "stack.yaml")

# AWS takes about three minutes, an emulator less than a second.
_WAITER_CONFIG: Final = {"Delay": 1, "MaxAttempts": 900}
_NOTHING_TO_DO: Final = "No updates are to be performed"
"""Part of the message of UpdateStack; its code, ValidationError, covers other mistakes too."""
_NEVER_CREATED: Final = "ROLLBACK_COMPLETE"
"""Status of a stack whose creation failed: it has no resources and can only be deleted.
Source: "Stack status codes", AWS CloudFormation user guide."""


def ensure_stack(client: "CloudFormationClient", stack_name: str, parameters: Mapping[str, str]) -> StackOutputs:
    """The outputs of the stack, after it was created or updated where necessary.

    Args:
        client: for the account, region and endpoint of the stack.
        stack_name: prefix of the names of all its resources.
        parameters: by their names in the template; others keep the template's default.

    Raises:
        StackFailedError: a resource could not be created; the message names the resources and the reasons.
    """
    apply_template(client, stack_name, parameters, TEMPLATE)
    return StackOutputs.read(stack_name, client)


def apply_template(
    client: "CloudFormationClient", stack_name: str, parameters: Mapping[str, str], template: "Traversable"
) -> None:
    """Create the stack of a template, or update it where necessary; arguments and errors as in `ensure_stack`."""
    token = uuid.uuid4().hex
    request: dict[str, Any] = {
        "StackName": stack_name,
        "TemplateBody": template.read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "ClientRequestToken": token,
    }
    if _exists(client, stack_name):
        _update(client, request)
    else:
        client.create_stack(**request)
        _wait(client, "stack_create_complete", stack_name, token)


def _exists(client: "CloudFormationClient", stack_name: str) -> bool:
    stack = find_stack(stack_name, client)
    if stack is None:
        return False
    if stack["StackStatus"] != _NEVER_CREATED:
        return True
    client.delete_stack(StackName=stack_name)
    client.get_waiter("stack_delete_complete").wait(StackName=stack_name, WaiterConfig=_WAITER_CONFIG)  # type: ignore[arg-type]
    return False


def _update(client: "CloudFormationClient", request: dict[str, Any]) -> None:
    try:
        client.update_stack(**request)
    except ClientError as error:
        if _NOTHING_TO_DO not in error.response["Error"]["Message"]:
            raise
    else:
        _wait(client, "stack_update_complete", request["StackName"], request["ClientRequestToken"])


def _wait(client: "CloudFormationClient", waiter: Any, stack_name: str, token: str) -> None:  # noqa: ANN401 - a literal of boto3's stubs
    try:
        client.get_waiter(waiter).wait(StackName=stack_name, WaiterConfig=_WAITER_CONFIG)
    except WaiterError as error:
        stack = find_stack(stack_name, client)
        status = stack["StackStatus"] if stack else "deleted"
        raise StackFailedError(stack_name, status, _failures(client, stack_name, token) or [str(error)]) from error


def _failures(client: "CloudFormationClient", stack_name: str, token: str) -> list[str]:
    """Failures in the operation with that token: those of resources, then those of the validation before it."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_name)
    events = [event for page in pages for event in page["StackEvents"] if event.get("ClientRequestToken") == token]
    failed = [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    return failed[::-1] + _validation_errors(client, stack_name, since=min(event["Timestamp"] for event in events))


def _validation_errors(client: "CloudFormationClient", stack_name: str, *, since: "datetime") -> list[str]:
    """Errors that CloudFormation found before it created a resource; the stack's events contain only their number.

    Source: "DescribeEvents", AWS CloudFormation API reference.
    """
    pages = client.get_paginator("describe_events").paginate(StackName=stack_name, Filters={"FailedEvents": True})
    return [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event['ValidationStatusReason']}"
        for page in pages
        for event in page["OperationEvents"]
        if event["EventType"] == "VALIDATION_ERROR" and event["Timestamp"] >= since
    ]
