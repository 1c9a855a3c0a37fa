"""What a descriptor can say, in the words of the Data Package standard."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import blocks.domain.feed
import deployments
from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed

# As in the design: every property that is ours, and most of the standard's.
WEATHER: dict[str, Any] = {
    "name": "weather-stations",
    "prefix": "incoming/weather/{station}/",
    "dialect": {"delimiter": ";", "header": True, "commentChar": "#"},
    "schema": {
        "fields": [
            {"name": "station", "type": "string", "constraints": {"pattern": "[a-z0-9-]+"}},
            {"name": "at", "type": "datetime", "format": "%Y-%m-%dT%H:%M:%S.%fZ"},
            {
                "name": "temperature",
                "type": "number",
                "decimalChar": ",",
                "constraints": {"minimum": -90, "maximum": 60},
            },
            {"name": "quality", "type": "string", "constraints": {"enum": ["good", "suspect"]}},
        ],
        "primaryKey": ["station", "at"],
        "missingValues": ["", "-200"],
        "fieldsMatch": "superset",
    },
    "rejectLimit": 0.1,
    "storage": {"table": "weather", "datetime": "epoch-milliseconds", "timeToLive": {"field": "at", "days": 400}},
}


def test_a_descriptor_is_read_and_written_unchanged() -> None:
    assert WEATHER == Feed.model_validate(WEATHER).as_document()


def test_the_sensor_file_is_one_of_the_feeds() -> None:
    own = Path(blocks.domain.feed.__path__[0], "sensor-readings.json").read_text()
    deployed = Path(deployments.__path__[0], "feeds", "sensor-readings.json").read_text()

    assert own == deployed
    assert json.loads(deployed) == SENSOR_READINGS.as_document()


def test_missing_values_with_labels_are_their_values() -> None:
    labelled = [{"value": "", "label": "OMITTED"}, {"value": "-99"}]
    feed = Feed.model_validate(WEATHER | {"schema": WEATHER["schema"] | {"missingValues": labelled}})

    assert ("", "-99") == feed.table_schema.missing_values


def test_a_key_of_one_field_can_be_its_name() -> None:
    feed = Feed.model_validate(WEATHER | {"schema": WEATHER["schema"] | {"primaryKey": "at"}, "prefix": "incoming/"})

    assert ("at",) == feed.table_schema.primary_key


@pytest.mark.parametrize("place", [(), ("dialect",), ("schema",), ("storage",)])
def test_an_unknown_property_is_refused(place: tuple[str, ...]) -> None:
    document = json.loads(json.dumps(WEATHER))
    target = document
    for name in place:
        target = target[name]
    target["colour"] = "red"

    with pytest.raises(ValidationError) as refused:
        Feed.model_validate(document)

    assert [(*place, "colour")] == [each["loc"] for each in refused.value.errors()]
