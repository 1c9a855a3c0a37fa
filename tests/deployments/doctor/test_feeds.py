"""Files of a feed wait: what the doctor finds about feeds and their tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blocks.domain.feed.descriptor import Feed
from blocks.feeds import FeedBlock, digest
from tests.deployments.doctor.problems import assert_problem, assert_warning, repaired_by
from tests.support.deployed_system import DeployedSystem
from tests.support.servers import Aws

WIND: dict[str, Any] = {
    "name": "wind",
    "prefix": "incoming/wind/",
    "schema": {
        "fields": [{"name": "mast", "type": "string"}, {"name": "at", "type": "datetime"}],
        "primaryKey": ["mast", "at"],
    },
    "storage": {"table": "doctor-wind"},
}


@contextmanager
def feed_saved(**changes: Any) -> Iterator[None]:  # noqa: ANN401 - properties of a descriptor
    descriptor = Feed.model_validate(WIND | changes).as_document()
    FeedBlock(descriptor=descriptor, deployed=digest(descriptor)).save("wind", overwrite=True)
    with repaired_by(lambda: FeedBlock.delete("wind")):
        yield


def table(aws: Aws, name: str, kind_of_at: str) -> None:
    aws.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "mast", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": kind_of_at},
        ],
        KeySchema=[{"AttributeName": "mast", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
    )


def test_feeds_and_tables_as_deploy_leaves_them(deployed_system: DeployedSystem) -> None:
    results = deployed_system.results_of("feeds", "feed tables")
    assert ("ok", "3: loggers, sensor-readings, weather-stations") == (results["feeds"].level, results["feeds"].seen)
    assert ("ok", True) == (results["feed tables"].level, "loggers: device" in results["feed tables"].seen)


def test_two_feeds_that_cannot_be_used_together(deployed_system: DeployedSystem) -> None:
    with feed_saved(prefix="incoming/loggers/{mast}/"):
        result = deployed_system.result_of("feeds")
    assert_problem(result, "loggers and wind have the same prefix", "sensor-ingest deploy")


def test_a_feed_for_files_that_never_land(deployed_system: DeployedSystem) -> None:
    with feed_saved(prefix="elsewhere/"):
        result = deployed_system.result_of("feeds")
    assert_problem(result, "elsewhere/", "sensor-ingest deploy")


def test_a_feed_whose_table_does_not_exist(deployed_system: DeployedSystem) -> None:
    with feed_saved():
        result = deployed_system.result_of("feed tables")
    assert_problem(result, "the table doctor-wind of the feed wind does not exist", "TableName=doctor-wind")


def test_a_table_with_another_key_than_its_feed(deployed_system: DeployedSystem, aws: Aws) -> None:
    table(aws, "doctor-wind-other-key", "S")
    with feed_saved(storage={"table": "doctor-wind-other-key"}):
        result = deployed_system.result_of("feed tables")
    assert_problem(result, "doctor-wind-other-key has the key mast (S)", "storage.table")


def test_a_table_without_the_time_to_live_of_its_feed(deployed_system: DeployedSystem, aws: Aws) -> None:
    table(aws, "doctor-wind-stays", "N")
    storage = {"table": "doctor-wind-stays", "timeToLive": {"field": "at", "days": 30}}
    with feed_saved(storage=storage):
        result = deployed_system.result_of("feed tables")
    assert_warning(result, "time to live is not enabled on doctor-wind-stays", "AttributeName=expires_at")
