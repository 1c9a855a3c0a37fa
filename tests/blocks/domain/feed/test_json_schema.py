"""The published JSON Schema is that of the code, and it takes and refuses what the code does, property by property."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import blocks
from blocks.domain.feed.descriptor import SENSOR_READINGS, FeedInvalidError, parse_feed
from blocks.domain.feed.json_schema import feed_json_schema

PUBLISHED = Path(blocks.__path__[0]).parent / "docs" / "reference" / "feed.schema.json"

FRUIT = {"fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string"}], "primaryKey": ["id"]}


def field(**properties: Any) -> dict[str, Any]:  # noqa: ANN401 - of the standard
    return {"schema": FRUIT | {"fields": [{"name": "id", "type": "integer"}, {"name": "name", **properties}]}}


# The forms that the examples of "Table Dialect" and "Table Schema", Data Package standard, v2, show.
SUPPORTED: list[dict[str, Any]] = [
    {"dialect": {"header": False}},
    {"dialect": {"header": False, "delimiter": ";", "quoteChar": "'"}},
    {"dialect": {"commentChar": "#"}},
    {"dialect": {"delimiter": "|"}},
    {"dialect": {"delimiter": ";", "doubleQuote": True, "lineTerminator": "\r\n", "skipInitialSpace": True}},
    {"dialect": {"$schema": "https://datapackage.org/profiles/2.0/tabledialect.json"}},
    {"schema": FRUIT | {"$schema": "https://datapackage.org/profiles/2.0/tableschema.json"}},
    {"schema": FRUIT | {"missingValues": ["NaN", "-"]}},
    {"schema": FRUIT | {"missingValues": []}},
    {"schema": FRUIT | {"missingValues": [{"value": "", "label": "OMITTED"}, {"value": "-99", "label": "REFUSED"}]}},
    {"schema": FRUIT | {"primaryKey": ["id", "name"]}},
    {"schema": FRUIT | {"primaryKey": "id"}},
    *({"schema": FRUIT | {"fieldsMatch": match}} for match in ("exact", "equal", "subset", "superset", "partial")),
    field(type="string", title="A title", description="A description", example="apple", rdfType="http://schema.org/x"),
    field(type="string", missingValues=["-"]),
    field(type="number", decimalChar=",", groupChar="."),
    field(type="boolean", trueValues=["yes"], falseValues=["no"]),
    field(type="datetime"),
    field(type="datetime", format="%d/%m/%Y %H:%M:%S"),
    field(type="date", format="%d/%m/%Y"),
    field(type="string", constraints={"required": True, "minLength": 5, "maxLength": 7}),
    field(type="integer", constraints={"minimum": 100, "maximum": "200"}),
    field(type="string", constraints={"pattern": "^a.*$"}),
    field(type="string", constraints={"enum": ["apple"]}),
]
UNSUPPORTED: list[dict[str, Any]] = [
    {"dialect": {"headerRows": [1, 2], "headerJoin": "-"}},
    {"dialect": {"commentRows": [2]}},
    {"dialect": {"lineTerminator": ";"}},
    {"dialect": {"escapeChar": "|"}},
    {"dialect": {"nullSequence": "NA"}},
    {"dialect": {"property": "rows", "itemType": "object", "itemKeys": ["id"]}},
    {"dialect": {"sheetNumber": 2}},
    {"schema": FRUIT | {"uniqueKeys": [["id"], ["id", "name"]]}},
    {"schema": FRUIT | {"foreignKeys": [{"fields": ["id"], "reference": {"fields": ["name"]}}]}},
    {"schema": {"fields": FRUIT["fields"]}},
    *(field(type=each) for each in ("any", "object", "array", "list", "time", "year", "yearmonth", "duration")),
    *(field(type=each) for each in ("geopoint", "geojson")),
    {"schema": {"fields": [{"name": "id"}], "primaryKey": ["id"]}},
    field(type="string", categories=["apple", "orange", "banana"]),
    field(type="number", bareNumber=False),
    field(type="number", constraints={"exclusiveMinimum": 0}),
    field(type="string", constraints={"unique": True}),
    field(type="string", constraints={"jsonSchema": {}}),
]


def as_feed(part: dict[str, Any]) -> dict[str, Any]:
    return {"name": "fruit", "prefix": "incoming/fruit/", "schema": FRUIT, "storage": {"table": "fruit"}} | part


def test_the_published_schema_is_that_of_the_code() -> None:
    assert feed_json_schema() == json.loads(PUBLISHED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", SUPPORTED, ids=json.dumps)
def test_what_is_supported_of_the_standard_is_taken(part: dict[str, Any]) -> None:
    parse_feed(as_feed(part), "fruit.json")

    assert [] == list(Draft202012Validator(feed_json_schema()).iter_errors(as_feed(part)))


@pytest.mark.parametrize("part", UNSUPPORTED, ids=json.dumps)
def test_what_is_not_supported_of_the_standard_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(FeedInvalidError):
        parse_feed(as_feed(part), "fruit.json")

    assert list(Draft202012Validator(feed_json_schema()).iter_errors(as_feed(part)))


def test_the_feeds_that_are_deployed_match_it() -> None:
    assert [] == list(Draft202012Validator(feed_json_schema()).iter_errors(SENSOR_READINGS.as_document()))
