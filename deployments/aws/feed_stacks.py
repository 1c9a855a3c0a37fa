"""The stacks of `aws/feed.yaml`: one for each table that feeds name, with the permission to write to it."""

import shlex
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from blocks.domain.feed.descriptor import Feed
from blocks.domain.feed.keys import key_of
from blocks.stack_outputs import StackOutputs, find_stack
from deployments.aws.stack import apply_template

if TYPE_CHECKING:
    import boto3

TEMPLATE: Final = files("deployments").joinpath("aws", "feed.yaml")

_REFUSED: Final = frozenset({"AccessDenied", "AccessDeniedException"})


def feed_stack_name(ingest_stack: str, table: str) -> str:
    """The name of the stack of a table: a stack's name has letters, digits and hyphens only."""
    return f"{ingest_stack}-feed-{table.replace('_', '-').replace('.', '-')}"[:128]


def feed_parameters(feed: Feed, ingest_stack: str) -> dict[str, str]:
    """The parameters of the template for the table that the feed names."""
    partition, *sort = key_of(feed)
    parameters = {
        "IngestStack": ingest_stack,
        "TableName": feed.storage.table or "",
        "PartitionKey": partition.name,
        "PartitionKeyType": partition.type,
    }
    if sort:
        parameters |= {"SortKey": sort[0].name, "SortKeyType": sort[0].type}
    if feed.storage.time_to_live:
        parameters["TimeToLiveAttribute"] = feed.storage.time_to_live.attribute
    return parameters


def key_parameter(ingest_outputs: StackOutputs) -> dict[str, str]:
    """The parameter that encrypts the table with the key of the ingest stack; empty if it has none."""
    return {"KmsKeyArn": ingest_outputs.kms_key_arn} if ingest_outputs.kms_key_arn else {}


def feed_stack_command(feed: Feed, ingest_stack: str, more: Mapping[str, str] | None = None) -> str:
    """What to type to create the stack, where `deploy` may not."""
    parameters = feed_parameters(feed, ingest_stack) | dict(more or {})
    words = " ".join(shlex.quote(f"{name}={value}") for name, value in parameters.items())
    return (
        f"aws cloudformation deploy --stack-name {feed_stack_name(ingest_stack, feed.storage.table or '')} "
        f"--template-file deployments/aws/feed.yaml --capabilities CAPABILITY_IAM --parameter-overrides {words}"
    )


def ensure_feed_tables(session: "boto3.Session", ingest_stack: str, feeds: Iterable[Feed]) -> None:
    """Create or update the stack of each table that feeds name. A table that exists without a stack is left alone.

    Where AWS does not permit it, nothing is done: `doctor` has the command for a person who may.

    Raises:
        StackFailedError: a table could not be created.
    """
    by_table = {feed.storage.table: feed for feed in feeds if feed.storage.table}
    for table, feed in by_table.items():
        try:
            _ensure(session, ingest_stack, table, feed)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSED:
                raise
            print(f"AWS does not permit to create the table {table}: {feed_stack_command(feed, ingest_stack)}")


def _ensure(session: "boto3.Session", ingest_stack: str, table: str, feed: Feed) -> None:
    cloudformation, name = session.client("cloudformation"), feed_stack_name(ingest_stack, table)
    if find_stack(name, cloudformation) is None and _exists(session, table):
        return
    parameters = feed_parameters(feed, ingest_stack) | key_parameter(StackOutputs.read(ingest_stack, cloudformation))
    apply_template(cloudformation, name, parameters, TEMPLATE)
    if feed.storage.time_to_live:
        _ensure_time_to_live(session, table, feed.storage.time_to_live.attribute)


def _ensure_time_to_live(session: "boto3.Session", table: str, attribute: str) -> None:
    """Enable time to live where the stack did not: MiniStack 1.5.33 ignores that property of a table."""
    client = session.client("dynamodb")
    if client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
        specification = {"Enabled": True, "AttributeName": attribute}
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)  # type: ignore[arg-type] # a literal of boto3's stubs


def _exists(session: "boto3.Session", table: str) -> bool:
    client = session.client("dynamodb")
    try:
        client.describe_table(TableName=table)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True
