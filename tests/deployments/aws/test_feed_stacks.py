"""The table of a feed, from its descriptor, in the emulator."""

from typing import Any

import boto3
import pytest

from blocks.domain.feed.descriptor import Feed
from blocks.stack_outputs import StackOutputs
from deployments.aws.feed_stacks import ensure_feed_tables, feed_stack_command
from deployments.aws.stack import ensure_stack
from tests.support.servers import Aws

INGEST = "ingest-with-feeds"


def feed(table: str, key: list[str], **storage: Any) -> Feed:  # noqa: ANN401 - properties
    fields = [
        {"name": "station", "type": "string"},
        {"name": "at", "type": "datetime"},
        {"name": "t", "type": "number"},
    ]
    return Feed.model_validate(
        {
            "name": table.replace("_", "-"),
            "prefix": f"incoming/{table}/",
            "schema": {"fields": fields, "primaryKey": key},
            "storage": {"table": table, **storage},
        }
    )


@pytest.fixture(scope="module")
def outputs(aws: Aws) -> StackOutputs:
    parameters = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com"}
    return ensure_stack(aws.client("cloudformation"), INGEST, parameters)


@pytest.fixture
def session(aws: Aws, outputs: StackOutputs, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    assert outputs
    session = boto3.Session("test", "test", region_name=outputs.region)
    client: Any = session.client
    monkeypatch.setattr(session, "client", lambda service: client(service, endpoint_url=aws.endpoint_url))
    return session


def described(aws: Aws, table: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    found = aws.client("dynamodb").describe_table(TableName=table)["Table"]
    keys = [(each["AttributeName"], each["KeyType"]) for each in found["KeySchema"]]
    return keys, {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}


def test_a_table_has_the_key_and_the_time_to_live_of_its_feed(aws: Aws, session: boto3.Session) -> None:
    live = {"field": "at", "days": 400}
    ensure_feed_tables(session, INGEST, [feed("with-sort-key", ["station", "at"], timeToLive=live)])

    keys = [("station", "HASH"), ("at", "RANGE")]
    assert (keys, {"station": "S", "at": "N"}) == described(aws, "with-sort-key")
    found = aws.client("dynamodb").describe_time_to_live(TableName="with-sort-key")["TimeToLiveDescription"]
    assert ("ENABLED", "expires_at") == (found["TimeToLiveStatus"], found["AttributeName"])


def test_a_key_of_one_field_has_no_sort_key(aws: Aws, session: boto3.Session) -> None:
    ensure_feed_tables(session, INGEST, [feed("without-sort-key", ["at"], datetime="iso")])

    assert ([("at", "HASH")], {"at": "S"}) == described(aws, "without-sort-key")


def test_the_runs_may_write_to_it(aws: Aws, session: boto3.Session, outputs: StackOutputs) -> None:
    ensure_feed_tables(session, INGEST, [feed("writable", ["station", "at"])])

    iam, role = aws.client("iam"), outputs.run_role_arn.rsplit("/", 1)[-1]
    documents = [
        iam.get_policy_version(
            PolicyArn=each["PolicyArn"],
            VersionId=iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"],
        )["PolicyVersion"]["Document"]
        for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    ]
    resources = [str(statement["Resource"]) for document in documents for statement in document["Statement"]]
    assert [each for each in resources if each.endswith(":table/writable")]


def test_a_table_that_exists_without_a_stack_is_left_alone(aws: Aws, session: boto3.Session) -> None:
    aws.client("dynamodb").create_table(
        TableName="made-by-hand",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    ensure_feed_tables(session, INGEST, [feed("made-by-hand", ["station", "at"])])

    assert [("id", "HASH")] == described(aws, "made-by-hand")[0]


def test_ensuring_twice_changes_nothing(aws: Aws, session: boto3.Session) -> None:
    for _ in range(2):
        ensure_feed_tables(session, INGEST, [feed("ensured-twice", ["station", "at"])])

    assert [("station", "HASH"), ("at", "RANGE")] == described(aws, "ensured-twice")[0]


def test_the_command_for_a_person_names_table_and_key() -> None:
    command = feed_stack_command(feed("weather_1", ["station", "at"]), "sensor-ingest")

    assert "--stack-name sensor-ingest-feed-weather-1 " in command
    assert "TableName=weather_1 PartitionKey=station PartitionKeyType=S SortKey=at SortKeyType=N" in command
