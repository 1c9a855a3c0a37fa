"""Which feed `check` validates a file by, if one is named."""

from typing import Final

import pytest

from deployments.commands.check.feed_choice import chosen_feed
from tests.support.pages import PROJECT

FEEDS: Final = PROJECT / "deployments" / "feeds"
WEATHER: Final = str(FEEDS / "weather-stations.json")
LOGGERS: Final = str(FEEDS / "loggers.json")
"""Its prefix is `incoming/loggers/{device}/`."""


@pytest.mark.parametrize(
    "file", ["w.csv", "s3://b/incoming/weather-stations/w.csv", "s3://b/refused/weather-stations/w.csv"]
)
def test_a_feed_that_takes_nothing_from_the_key_fits_a_file_wherever_it_is(file: str) -> None:
    chosen = chosen_feed(file, WEATHER, None)
    assert ("weather-stations", {}) == (chosen.feed.name, chosen.key_values)


def test_a_field_comes_from_the_key_of_the_address_or_the_one_given() -> None:
    for file, key in [
        ("s3://b/incoming/loggers/l-1/a.csv", None),
        ("s3://b/refused/loggers/l-9/a.csv", "incoming/loggers/l-1/a.csv"),
        ("a.csv", "incoming/loggers/l-1/a.csv"),
    ]:
        assert {"device": "l-1"} == chosen_feed(file, LOGGERS, key).key_values


@pytest.mark.parametrize(
    ("file", "feed", "key", "problem"),
    [
        ("a.csv", LOGGERS, None, "device of loggers come"),
        ("s3://b/refused/loggers/l-9/a.csv", LOGGERS, None, "device of loggers come"),
        ("a.csv", WEATHER, "incoming/other/a.csv", "incoming/other/a.csv is no key of weather-stations"),
    ],
)
def test_a_key_that_does_not_say_what_is_needed_is_wrong_use(
    file: str, feed: str, key: str | None, problem: str
) -> None:
    with pytest.raises(ValueError, match=f"{problem}.*give --key"):
        chosen_feed(file, feed, key)
