"""A file belongs to the feed with the longest matching prefix."""

from typing import Any

import pytest

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from blocks.domain.feed.selection import FeedMissingError, Feeds, FeedsConflictError


def feed(name: str, prefix: str, table: str | None = "t01", **storage: Any) -> Feed:  # noqa: ANN401 - properties
    return Feed.model_validate(
        {
            "name": name,
            "prefix": prefix,
            "schema": {
                "fields": [
                    {"name": "site", "type": "string"},
                    {"name": "device", "type": "string"},
                    {"name": "at", "type": "datetime"},
                    {"name": "v", "type": "number"},
                ],
                "primaryKey": ["device", "at"],
            },
            "storage": {"table": table, **storage},
        }
    )


ALL = [
    SENSOR_READINGS,
    feed("loggers", "incoming/loggers/{device}/"),
    feed("own", "incoming/loggers/special/"),
    feed("named", "incoming/files/{site}-{device}.csv"),
]


@pytest.mark.parametrize(
    ("key", "name", "values"),
    [
        ("incoming/x.csv", "sensor-readings", {}),
        ("incoming/loggers/x.csv", "sensor-readings", {}),
        ("incoming/loggers/l-7/2026-11.csv", "loggers", {"device": "l-7"}),
        ("incoming/loggers/l-7/2026/11.csv", "loggers", {"device": "l-7"}),
        ("incoming/loggers/é (+)/x.csv", "loggers", {"device": "é (+)"}),
        ("incoming/loggers/special/x.csv", "own", {}),
        ("incoming/loggers//x.csv", "sensor-readings", {}),
        ("incoming/files/a-b-c.csv", "named", {"site": "a", "device": "b-c"}),
        ("incoming/files/a-b.csv.gz", "named", {"site": "a", "device": "b"}),
    ],
)
@pytest.mark.parametrize("feeds", [ALL, ALL[::-1]], ids=["in order", "reversed"])
def test_the_longest_matching_prefix_decides(key: str, name: str, values: dict[str, str], feeds: list[Feed]) -> None:
    chosen = Feeds(feeds).of_key(key)

    assert (name, values) == (chosen.feed.name, chosen.key_values)


def test_a_key_that_no_feed_covers_is_an_error_with_the_prefixes_there_are() -> None:
    with pytest.raises(FeedMissingError, match="incoming/loggers/special/"):
        Feeds(ALL[1:]).of_key("elsewhere/x.csv")


def test_a_key_from_elsewhere_is_one_of_the_sensor_file() -> None:
    assert "sensor-readings" == Feeds(ALL).of_key("by-hand/x.csv").feed.name


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ([feed("one", "incoming/a/"), feed("two", "incoming/a/")], "one and two have the same prefix incoming/a/"),
        ([feed("one", "incoming/{site}/"), feed("two", "incoming/{device}/")], "have the same prefix"),
        ([feed("one", "incoming/a/"), feed("one", "incoming/b/")], "two are named one"),
        ([feed("one", "incoming/a/"), feed("two", "incoming/b/", datetime="iso")], r"at \(S\): give two a table"),
        ([feed("one", "incoming/a/", table=None)], r"the readings table has the key sensor_id \(S\), timestamp \(N\)"),
        ([feed("one", "inbox/a/")], "inbox/a/ of one does not start with incoming/"),
    ],
)
def test_feeds_that_contradict_one_another_are_refused(others: list[Feed], problem: str) -> None:
    with pytest.raises(FeedsConflictError, match=problem):
        Feeds([SENSOR_READINGS, *others], "incoming/")
