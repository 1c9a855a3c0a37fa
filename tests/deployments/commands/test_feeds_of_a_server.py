"""The commands `feed list` and `feed show` where a Prefect server has the feeds."""

import json

import pytest
from typer.testing import CliRunner, Result

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from blocks.feeds import FeedBlock, save_feeds, saved_feed_blocks
from deployments.cli import app
from tests.support.servers import talking_to

WIND = Feed.model_validate(
    SENSOR_READINGS.as_document() | {"name": "wind", "prefix": "incoming/wind/", "storage": {"table": "wind"}}
)


@pytest.fixture
def feeds_on_the_server(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One as `deploy` saves it, one that a person has edited."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with talking_to(prefect_server):
        for block in saved_feed_blocks():
            FeedBlock.delete(block.feed.name)
        save_feeds([WIND])
        FeedBlock(descriptor=SENSOR_READINGS.as_document(), deployed="").save("sensor-readings", overwrite=True)


def feed(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["feed", *arguments], catch_exceptions=False)


@pytest.mark.usefixtures("feeds_on_the_server")
def test_the_feeds_of_the_server_are_listed_and_shown_not_those_in_files(prefect_server: str) -> None:
    with talking_to(prefect_server):
        listed, rows, shown = (
            json.loads(feed("list", "--json").stdout),
            feed("list").stdout,
            feed("show", "wind").stdout,
        )

    assert [("sensor-readings", True, True), ("wind", True, False)] == [
        (each["name"], each["saved"], each["edited"]) for each in listed
    ]
    [edited] = [row for row in rows.splitlines() if row.startswith("sensor-readings")]
    assert edited.endswith("edited in the UI: kept by deploy")
    assert "loggers" not in rows
    assert WIND.as_document() == json.loads(shown)
