"""The AWS side of an environment, made from the one template in `aws/stack.yaml`: in AWS and in the emulator alike."""

import uuid
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError, WaiterError

from blocks.domain.errors import StackFailedError
from blocks.stack_outputs import StackOutputs, find_stack

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_cloudformation import CloudFormationClient

TEMPLATE: Final = files("deployments").joinpath("aws", "stack.yaml")

# It takes AWS about three minutes, an emulator a moment.
_PATIENCE: Final = {"Delay": 1, "MaxAttempts": 900}
_NOTHING_TO_DO: Final = "No updates are to be performed"
"""How UpdateStack says so; the code, ValidationError, is that of many mistakes."""
_NEVER_CREATED: Final = "ROLLBACK_COMPLETE"
"""A stack whose creation failed: it holds nothing, and can only be deleted.
Source: "Stack status codes", AWS CloudFormation user guide."""


def ensure_stack(client: "CloudFormationClient", stack_name: str, parameters: Mapping[str, str]) -> StackOutputs:
    """The outputs of the stack, which is created, or updated, or as it should be already.

    Args:
        client: for the account, region and endpoint that the stack is to be in.
        stack_name: what all its resources' names start with.
        parameters: by the names that the template gives them; those left out get the template's default.

    Raises:
        StackFailedError: a resource could not be made; the text says which ones, and why.
    """
    token = uuid.uuid4().hex
    request: dict[str, Any] = {
        "StackName": stack_name,
        "TemplateBody": TEMPLATE.read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "ClientRequestToken": token,
    }
    if _exists(client, stack_name):
        _update(client, request)
    else:
        client.create_stack(**request)
        _wait(client, "stack_create_complete", stack_name, token)
    return StackOutputs.read(stack_name, client)


def _exists(client: "CloudFormationClient", stack_name: str) -> bool:
    stack = find_stack(stack_name, client)
    if stack is None:
        return False
    if stack["StackStatus"] != _NEVER_CREATED:
        return True
    client.delete_stack(StackName=stack_name)
    client.get_waiter("stack_delete_complete").wait(StackName=stack_name, WaiterConfig=_PATIENCE)  # type: ignore[arg-type]
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
        client.get_waiter(waiter).wait(StackName=stack_name, WaiterConfig=_PATIENCE)
    except WaiterError as error:
        stack = find_stack(stack_name, client)
        status = stack["StackStatus"] if stack else "deleted"
        raise StackFailedError(stack_name, status, _failures(client, stack_name, token) or [str(error)]) from error


def _failures(client: "CloudFormationClient", stack_name: str, token: str) -> list[str]:
    """What failed in the operation with that token: while resources were made, then before any was."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_name)
    events = [event for page in pages for event in page["StackEvents"] if event.get("ClientRequestToken") == token]
    failed = [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    return failed[::-1] + _refusals(client, stack_name, since=min(event["Timestamp"] for event in events))


def _refusals(client: "CloudFormationClient", stack_name: str, *, since: "datetime") -> list[str]:
    """What CloudFormation found wrong before it made anything; the events of the stack only count such findings.

    Source: "DescribeEvents", AWS CloudFormation API reference.
    """
    pages = client.get_paginator("describe_events").paginate(StackName=stack_name, Filters={"FailedEvents": True})
    return [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event['ValidationStatusReason']}"
        for page in pages
        for event in page["OperationEvents"]
        if event["EventType"] == "VALIDATION_ERROR" and event["Timestamp"] >= since
    ]
