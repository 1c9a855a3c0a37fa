"""A descriptor that asks for what is not supported, or contradicts itself, is refused with place and remedy."""

import json
from typing import Any

import pytest

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed, FeedInvalidError, parse_feed

GOOD: dict[str, Any] = {
    "name": "weather",
    "prefix": "incoming/weather/{station}/",
    "dialect": {"delimiter": ";"},
    "schema": {
        "fields": [
            {"name": "station", "type": "string"},
            {"name": "at", "type": "datetime"},
            {"name": "temperature", "type": "number"},
            {"name": "dry", "type": "boolean"},
            {"name": "count", "type": "integer"},
            {"name": "day", "type": "date"},
        ],
        "primaryKey": ["station", "at"],
    },
    "storage": {"table": "weather", "timeToLive": {"field": "at", "days": 400}},
}
STATION, AT, TEMPERATURE, DRY, COUNT, DAY = (f"schema.fields[{place}]" for place in range(6))
REMOVED = object()


def changed(place: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever somebody writes there
    document: dict[str, Any] = json.loads(json.dumps(GOOD))
    *parents, last = place.replace("[", ".#").replace("]", "").split(".")
    target: Any = document
    for part in parents:
        target = target[int(part[1:])] if part.startswith("#") else target.setdefault(part, {})
    name: Any = int(last[1:]) if last.startswith("#") else last
    if value is REMOVED:
        del target[name]
    else:
        target[name] = value
    return document


def test_the_descriptor_that_the_others_differ_from_is_taken() -> None:
    assert "weather" == parse_feed(GOOD, "weather.json").name


def test_the_sensor_file_has_no_contradictions() -> None:
    assert SENSOR_READINGS == Feed.model_validate(SENSOR_READINGS.as_document())


# What is written where; the place of the fault, if it is another; and a word of its remedy.
FAULTS: list[tuple[str, Any, str, str]] = [
    ("name", "Weather Stations", "", "lower-case"),
    ("name", REMOVED, "", "lower-case"),
    ("prefix", "/incoming/weather/", "", "incoming/{station}/"),
    ("prefix", "incoming/{station}", "", "incoming/{station}/"),
    ("prefix", "incoming/{station/", "", "incoming/{station}/"),
    ("prefix", "incoming/{station}{day}/", "", "incoming/{station}/"),
    ("prefix", "incoming/{station}/{station}/", "", "incoming/{station}/"),
    ("prefix", "incoming/{site}/", "", "station, at"),
    ("prefix", "incoming/\x00/", "", "incoming/{station}/"),
    ("path", "weather.csv", "", "prefix"),
    ("encoding", "latin-1", "", "UTF-8"),
    ("colour", "red", "", "there are"),
    ("rejectlimit", 0.5, "", "rejectLimit"),
    ("rejectLimit", 1.5, "", "share of rows"),
    ("dialect.delimiter", "ab", "", "between two fields"),
    ("dialect.delimiter", "\n", "", "between two fields"),
    ("dialect.quoteChar", ";", "", "contains the delimiter"),
    ("dialect", {"delimiter": "|", "quoteChar": "|"}, "dialect.quoteChar", "choose another"),
    ("dialect.escapeChar", "\\", "", "quoteChar"),
    ("dialect.nullSequence", "NA", "", "missingValues"),
    ("dialect.headerRows", [1, 2], "", "header"),
    ("dialect.skipInitialSpace", False, "", "spaces"),
    ("dialect.commentChar", ";;", "", "choose another"),
    ("schema", REMOVED, "", "fields"),
    ("schema.fields", [], "", "fields of a row"),
    ("schema.foreignKeys", [], "", "no foreign keys"),
    ("schema.primaryKey", ["station", "at", "day"], "", "join"),
    ("schema.primaryKey", [], "", "partition key"),
    ("schema.primaryKey", ["at", "at"], "", "once"),
    ("schema.primaryKey", ["station", "when"], "schema.primaryKey[1]", "station, at"),
    ("schema.primaryKey", ["station", "dry"], "schema.primaryKey[1]", "string"),
    (f"{AT}.constraints.required", False, "schema.primaryKey[1]", "leave out"),
    (f"{AT}.name", "station", f"{STATION}.name", "once"),
    (f"{TEMPERATURE}.name", " temperature", "", "rename"),
    (f"{TEMPERATURE}.type", "duration", "", "type of its values"),
    (f"{TEMPERATURE}.type", REMOVED, "", "type of its values"),
    (f"{TEMPERATURE}.bareNumber", False, "", "string"),
    (f"{TEMPERATURE}.categories", ["a"], "", "enum"),
    (f"{TEMPERATURE}.format", "currency", "", "leave it out"),
    (f"{TEMPERATURE}.decimalChar", "e", "", "comma"),
    (f"{TEMPERATURE}.groupChar", ".", "", "different"),
    (f"{TEMPERATURE}.trueValues", ["ja"], "", "leave it out"),
    (f"{TEMPERATURE}.constraints.pattern", "[0-9]+", "", "change the type"),
    (f"{TEMPERATURE}.constraints.minimum", "cold", "", "number"),
    (f"{TEMPERATURE}.constraints.minimum", True, "", "number"),
    (f"{TEMPERATURE}.constraints.exclusiveMinimum", 0, "", "minimum"),
    (f"{TEMPERATURE}.constraints", {"minimum": 2, "maximum": 1}, f"{TEMPERATURE}.constraints.minimum", "exchange"),
    (f"{TEMPERATURE}.constraints.enum", [1, "1.0"], f"{TEMPERATURE}.constraints.enum[1]", "leave it out"),
    (f"{TEMPERATURE}.constraints.enum", [], "", "values there are"),
    (f"{COUNT}.constraints.maximum", 1.5, "", "integer"),
    (f"{COUNT}.decimalChar", ",", "", "leave it out"),
    (f"{DRY}.constraints.enum", ["true"], "", "change the type"),
    (f"{DRY}.falseValues", ["0", "true"], "", "one of the two"),
    (f"{DRY}.missingValues", ["", "0"], f"{DRY}.falseValues", "missingValues"),
    (f"{DAY}.format", "%Y-%m-%d %H", "", "feeds.md"),
    (f"{DAY}.format", "any", "", "feeds.md"),
    (f"{AT}.format", "%d.%m.", "", "feeds.md"),
    (f"{AT}.format", "%Y-%m-%d %I:%M", "", "feeds.md"),
    (f"{AT}.format", "%Y-%m-%d %Z", "", "feeds.md"),
    (f"{AT}.format", "%Y-%Y-%m-%d", "", "feeds.md"),
    (f"{AT}.constraints.minimum", "2020", "", "format"),
    (f"{AT}.constraints.minimum", "2020-02-30T00:00:00", "", "format"),
    (f"{AT}.constraints.pattern", "2.*", "", "change the type"),
    (f"{STATION}.format", "email", "", "pattern"),
    (f"{STATION}.constraints.pattern", "(?=a)", "", "look-around"),
    (f"{STATION}.constraints.pattern", "a)|(b", "", "look-around"),
    (f"{STATION}.constraints", {"minLength": 3, "maxLength": 2}, f"{STATION}.constraints.minLength", "exchange"),
    (f"{STATION}.constraints.enum", ["a", ""], f"{STATION}.constraints.enum[1]", "missingValues"),
    (f"{STATION}.constraints.enum", ["a", "a"], f"{STATION}.constraints.enum[1]", "leave it out"),
    ("storage.table", "x", "", "DynamoDB table"),
    ("storage.datetime", "iso8601", "", "since 1970"),
    ("storage.timeToLive.field", "day", "", "at"),
    ("storage.timeToLive.days", 0, "", "days after"),
    ("storage.timeToLive.attribute", "count", "", "another name"),
]


@pytest.mark.parametrize(("place", "value", "at", "remedy"), FAULTS)
def test_a_fault_has_its_place_and_its_remedy(place: str, value: Any, at: str, remedy: str) -> None:  # noqa: ANN401
    with pytest.raises(FeedInvalidError) as refused:
        parse_feed(changed(place, value), "weather.json")

    faults = {fault.place: fault for fault in refused.value.faults}
    assert (at or place) in faults
    assert remedy.lower() in faults[at or place].remedy.lower()


def test_all_faults_are_listed_at_once() -> None:
    document = changed(f"{DAY}.format", "any")
    document["schema"]["primaryKey"] = ["station", "at", "day"]

    with pytest.raises(FeedInvalidError) as refused:
        parse_feed(document, "weather.json")

    assert {f"{DAY}.format", "schema.primaryKey"} == {fault.place for fault in refused.value.faults}
    assert "weather.json" in str(refused.value)


def test_a_quoted_decimal_comma_beside_commas_is_taken_only_with_quotes() -> None:
    document = changed(f"{TEMPERATURE}.decimalChar", ",")
    document["dialect"] = {"delimiter": ","}
    parse_feed(document, "weather.json")
    document["dialect"] = {"delimiter": ",", "quoteChar": None}

    with pytest.raises(FeedInvalidError, match="decimalChar"):
        parse_feed(document, "weather.json")


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_what_is_no_object_is_no_feed(document: object) -> None:
    with pytest.raises(FeedInvalidError, match="the document"):
        parse_feed(document, "weather.json")
