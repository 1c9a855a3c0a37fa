"""The blocks of feeds: saved by a deployment, edited by people, and kept as they edited them."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from blocks.domain.errors import BlockInvalidError
from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from blocks.domain.feed.selection import FeedsConflictError
from blocks.feeds import FeedBlock, save_feeds, saved_feed_blocks
from tests.support.servers import talking_to

WEATHER = Feed.model_validate(
    {
        "name": "weather",
        "prefix": "incoming/weather/",
        "schema": {"fields": [{"name": "at", "type": "datetime"}, {"name": "t", "type": "number"}], "primaryKey": "at"},
        "storage": {"table": "weather"},
    }
)


@pytest.fixture(autouse=True)
def no_feeds(prefect_server: str) -> Iterator[None]:
    """The server has no feeds before and after a test."""
    with talking_to(prefect_server):
        for block in saved_feed_blocks():
            FeedBlock.delete(block.feed.name)
        yield
        for document in documents():
            FeedBlock.delete(str(document.name))


def documents() -> list[Any]:
    with get_client(sync_client=True) as client:
        return client.read_block_documents_by_type("sensor-feed")


def edit(name: str, /, **changes: Any) -> None:  # noqa: ANN401 - properties
    """What a person does in the UI."""
    [document] = [each for each in documents() if each.name == name]
    data = {"descriptor": document.data["descriptor"] | changes}
    with get_client(sync_client=True) as client:
        change = {"data": data, "merge_existing_data": True}
        client.request("PATCH", "/block_documents/{id}", path_params={"id": str(document.id)}, json=change)


def test_a_feed_is_found_as_it_was_saved() -> None:
    assert ["sensor-feed/sensor-readings", "sensor-feed/weather"] == save_feeds([WEATHER, SENSOR_READINGS])

    assert [SENSOR_READINGS, WEATHER] == [block.feed for block in saved_feed_blocks()]
    assert [False, False] == [block.is_edited for block in saved_feed_blocks()]


def test_a_changed_file_is_saved_anew_but_an_edit_stays() -> None:
    save_feeds([SENSOR_READINGS, WEATHER])
    edit("weather", rejectLimit=0.5)
    save_feeds([each.model_copy(update={"reject_limit": 0.25}) for each in (SENSOR_READINGS, WEATHER)])

    assert {"sensor-readings": (0.25, False), "weather": (0.5, True)} == {
        block.feed.name: (block.feed.reject_limit, block.is_edited) for block in saved_feed_blocks()
    }


def test_feeds_follow_the_incoming_prefix_of_the_landing_zone() -> None:
    save_feeds([SENSOR_READINGS, WEATHER], "drop/")

    assert ["drop/", "drop/weather/"] == [block.feed.prefix for block in saved_feed_blocks()]


def test_an_edit_that_cannot_work_is_named_with_its_block_and_its_place() -> None:
    save_feeds([WEATHER])
    edit("weather", schema=WEATHER.as_document()["schema"] | {"primaryKey": ["when"]})

    with pytest.raises(BlockInvalidError, match=r"'sensor-feed/weather'.*schema\.primaryKey\[0\]: is no field"):
        saved_feed_blocks()


def test_a_block_and_its_descriptor_have_one_name() -> None:
    save_feeds([WEATHER])
    edit("weather", name="climate")

    with pytest.raises(BlockInvalidError, match="it is climate, and that of the block is weather"):
        saved_feed_blocks()


def test_nothing_is_saved_if_two_feeds_would_have_one_prefix() -> None:
    save_feeds([SENSOR_READINGS])
    edit("sensor-readings", prefix="incoming/weather/")

    with pytest.raises(FeedsConflictError, match="same prefix"):
        save_feeds([SENSOR_READINGS, WEATHER])
    assert ["sensor-readings"] == [block.feed.name for block in saved_feed_blocks()]


def test_rules_that_the_landing_zone_of_0_1_had_are_those_of_the_sensor_file_once() -> None:
    old = {"sensor_id_pattern": "[a-z]+", "earliest_timestamp": 0, "reject_limit": 0.1, "colour": "red"}
    save_feeds([SENSOR_READINGS, WEATHER], rules_of_0_1=old)
    save_feeds([SENSOR_READINGS, WEATHER], rules_of_0_1={"sensor_id_pattern": "[0-9]+"})
    found, weather = saved_feed_blocks()

    sensor, second, _ = (field.constraints for field in found.feed.table_schema.fields_)
    assert ("[a-z]+", 0, 0.1) == (sensor.pattern, second.minimum, found.feed.reject_limit)
    assert (True, False) == (found.is_edited, weather.is_edited)
