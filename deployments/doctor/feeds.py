"""Checks of the feeds: saved and usable together, and each table with the key of its feed."""

from typing import Any, Final

from botocore.exceptions import ClientError

from blocks.domain.feed.descriptor import Feed
from blocks.domain.feed.keys import key_of, key_text
from blocks.domain.feed.selection import Feeds
from blocks.feeds import saved_feed_blocks
from blocks.readings_table import ReadingsTable
from deployments.aws.feed_stacks import feed_stack_command, key_parameter
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem


def are_usable(system: InspectedSystem) -> CheckResult:
    """Feeds are saved, can be used together, and are for files that land."""
    feeds = Feeds((block.feed for block in saved_feed_blocks()), system.outputs.incoming_prefix).all
    if not feeds:
        return problem("none is saved, so no file can be loaded", "`sensor-ingest deploy`")
    return ok(f"{len(feeds)}: {', '.join(feed.name for feed in feeds)}")


def tables_have_their_keys(system: InspectedSystem) -> CheckResult:
    """The table of each feed exists, with the key of the feed and its time to live."""
    client = system.client_of(ReadingsTable, "dynamodb")
    named = [block.feed for block in saved_feed_blocks() if block.feed.storage.table]
    results = [_table_of(feed, client, system) for feed in named]
    worst = [each for level in ("problem", "warning") for each in results if each and each.level == level]
    if worst:
        return worst[0]
    return ok(
        "; ".join(f"{feed.storage.table}: {key_text(key_of(feed))}" for feed in named) or "none but that of readings"
    )


def _table_of(feed: Feed, client: Any, system: InspectedSystem) -> CheckResult | None:  # noqa: ANN401 - boto3's client
    """What is wrong with the table of a feed; None if nothing is."""
    table, stack = str(feed.storage.table), system.settings.stack
    try:
        found = client.describe_table(TableName=table)["Table"]
    except client.exceptions.ResourceNotFoundException:
        seen = f"the table {table} of the feed {feed.name} does not exist: files under {feed.prefix} wait"
        return problem(
            seen, f"`sensor-ingest deploy`, or: {feed_stack_command(feed, stack, key_parameter(system.outputs))}"
        )
    types = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}
    key = tuple((each["AttributeName"], types[each["AttributeName"]]) for each in found["KeySchema"])
    if key != tuple(map(tuple, key_of(feed))):
        seen = f"the table {table} has the key {key_text(key)}, the feed {feed.name} has {key_text(key_of(feed))}"
        return problem(seen, "correct primaryKey or storage of the feed, or name another table in storage.table")
    return _time_to_live(feed, table, client)


def _time_to_live(feed: Feed, table: str, client: Any) -> CheckResult | None:  # noqa: ANN401 - boto3's client
    if not (wanted := feed.storage.time_to_live):
        return None
    try:
        found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    except ClientError:
        return None  # another permission than that of the table
    if found.get("AttributeName") == wanted.attribute and found["TimeToLiveStatus"] in ("ENABLED", "ENABLING"):
        return None
    specification = f"Enabled=true,AttributeName={wanted.attribute}"
    remedy = f"aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification {specification}"
    return warning(f"time to live is not enabled on {table}, so items of the feed {feed.name} stay", remedy)


CHECKS: Final = (
    Check("feeds", are_usable, ("prefect api", "stack")),
    Check("feed tables", tables_have_their_keys, ("feeds",)),
)
