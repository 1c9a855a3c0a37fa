"""The files that an SQS message announces."""

import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from blocks.domain.models import SensorFile
from deployments.relay.s3_events import UnknownMessageError, announced_files

KEYS = [
    "incoming/sensors.csv",
    "incoming/with space.csv",
    "incoming/a+b%20c%2B100%.csv",
    "incoming/Zürich/测试 😀.csv",
    'incoming/it\'s "quoted" {{ braces }}.csv',
    "incoming//a&b=c;d.csv",
]


def event(key: str, kind: str = "Object Created", source: str = "aws.s3") -> str:
    """An EventBridge event, as S3 sends it: the key as it is."""
    described = {"key": key, "size": 8, "etag": "e1", "version-id": "v1", "sequencer": "0062E99A88DC407460"}
    detail = {"version": "0", "bucket": {"name": "landing"}, "object": described, "reason": "PutObject"}
    return json.dumps({"version": "0", "detail-type": kind, "source": source, "detail": detail})


def notification(*keys: str, kind: str = "ObjectCreated:Put") -> str:
    """An S3 event notification with a record for each key, form-encoded as S3 sends them."""
    return json.dumps({"Records": [record(key, kind) for key in keys]})


def record(key: str, kind: str) -> dict[str, Any]:
    described = {
        "key": quote_plus(key, safe="/"),
        "size": 8,
        "eTag": "e1",
        "versionId": "v1",
        "sequencer": "0062E99A88",
    }
    return {"eventSource": "aws:s3", "eventName": kind, "s3": {"bucket": {"name": "landing"}, "object": described}}


def found(body: str) -> list[str]:
    return [file.key for file in announced_files(body, prefix="incoming/")]


# ---- Messages that announce files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_the_key_of_an_eventbridge_event_is_not_decoded(key: str) -> None:
    assert [key] == found(event(key))


@pytest.mark.parametrize("key", KEYS)
def test_the_form_encoded_key_of_a_notification_is_decoded(key: str) -> None:
    assert [key] == found(notification(key))


@pytest.mark.parametrize(
    ("sequencer", "body"),
    [("0062E99A88DC407460", event("incoming/a.csv")), ("0062E99A88", notification("incoming/a.csv"))],
)
def test_a_file_has_version_etag_size_and_sequencer_of_the_message(sequencer: str, body: str) -> None:
    file = SensorFile(bucket="landing", key="incoming/a.csv", version_id="v1", etag="e1", size=8, sequencer=sequencer)
    assert [file] == announced_files(body, prefix="incoming/")


def test_a_notification_may_announce_several_files() -> None:
    assert KEYS == found(notification(*KEYS))


@pytest.mark.parametrize(
    "kind", ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Copy"]
)
def test_each_type_of_creation_announces_the_object(kind: str) -> None:
    assert ["incoming/a.csv"] == found(notification("incoming/a.csv", kind=kind))


def test_a_file_in_a_bucket_without_versioning_has_its_etag_as_version() -> None:
    body = json.loads(event("incoming/a.csv"))
    del body["detail"]["object"]["version-id"]
    assert ["e1"] == [file.version for file in announced_files(json.dumps(body), prefix="incoming/")]


def test_without_a_prefix_every_file_of_the_bucket_is_announced() -> None:
    assert ["a.csv"] == [file.key for file in announced_files(event("a.csv"), prefix="")]


# ---- Messages that announce none ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing"}', id="test event"),
        pytest.param(event("incoming/"), id="the prefix itself"),
        pytest.param(event("incoming/2026/"), id="folder"),
        pytest.param(notification("incoming/2026 11/"), id="folder in a notification"),
        pytest.param(event("incoming/a.csv", "Object Deleted"), id="deleted"),
        pytest.param(event("incoming/a.csv", "Object Restore Completed"), id="restored"),
        pytest.param(notification("incoming/a.csv", kind="ObjectRemoved:DeleteMarkerCreated"), id="removed"),
        pytest.param(event("processed/a.csv"), id="archived"),
        pytest.param(event("incoming.csv"), id="a name that starts like the prefix"),
        pytest.param(notification("processed/incoming/a.csv"), id="the prefix in the middle"),
        pytest.param('{"Records": []}', id="no records"),
    ],
)
def test_a_message_without_a_file_under_the_prefix_announces_none(body: str) -> None:
    assert [] == found(body)


def test_records_of_created_objects_are_found_among_others() -> None:
    body = {
        "Records": [record("incoming/a.csv", "ObjectRemoved:Delete"), record("incoming/b.csv", "ObjectCreated:Put")]
    }
    assert ["incoming/b.csv"] == found(json.dumps(body))


# ---- Messages of no known format ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="empty"),
        pytest.param("hello", id="no json"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="list"),
        pytest.param('"text"', id="text"),
        pytest.param("{}", id="no fields"),
        pytest.param('{"source": "aws.s3"}', id="no type"),
        pytest.param('{"source": "aws.s3", "detail-type": "Object Created"}', id="no detail"),
        pytest.param('{"source": "aws.s3", "detail-type": "Object Created", "detail": 7}', id="detail of another type"),
        pytest.param(event("incoming/a.csv", source="aws.ec2"), id="another service"),
        pytest.param(event(""), id="empty key"),
        pytest.param(event("incoming/" + "k" * 1016), id="key longer than S3 has"),
        pytest.param(event("incoming/\ud800.csv"), id="half a character"),
        pytest.param(event("incoming/\x00.csv"), id="a NUL"),
        pytest.param('{"Records": 7}', id="records of another type"),
        pytest.param('{"Records": ["incoming/a.csv"]}', id="record of another type"),
        pytest.param('{"Records": [{"eventName": 7}]}', id="event name of another type"),
        pytest.param('{"Records": [{"eventName": "ObjectCreated:Put"}]}', id="record without object"),
        pytest.param("[" * 100_000, id="nested too deep to read"),
        pytest.param('{"source": ' + "9" * 5_000 + "}", id="a number too long to read"),
    ],
)
def test_a_message_of_no_known_format_is_an_error_that_shows_its_beginning(body: str) -> None:
    with pytest.raises(UnknownMessageError, match="no S3 event") as error:
        found(body)
    assert repr(body[:20])[1:-1] in str(error.value)


def test_a_message_with_one_invalid_record_announces_none_of_its_files() -> None:
    body = {"Records": [record("incoming/a.csv", "ObjectCreated:Put"), {"eventName": "ObjectCreated:Put"}]}
    with pytest.raises(UnknownMessageError):
        found(json.dumps(body))
