"""The feeds of one deployment together, and which of them a file belongs to."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from blocks.domain.errors import SensorIngestError
from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from blocks.domain.feed.keys import key_of, key_text
from blocks.domain.feed.prefix import Prefix
from blocks.domain.text import printable


class FeedsConflictError(SensorIngestError):
    """Two feeds cannot be in one deployment."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__(
            f"The feeds cannot be used together: {'; '.join(self.problems)}. Edit the feed in the Prefect UI (Blocks), "
            "or its file in deployments/feeds/, then `sensor-ingest deploy`. Until then files wait in incoming/."
        )


class FeedMissingError(SensorIngestError):
    """No feed covers the key of a file, so nothing says what its rows are."""

    def __init__(self, key: str, prefixes: Iterable[str]) -> None:
        there = ", ".join(prefixes) or "none"
        super().__init__(
            f"No feed covers the key {printable(key)}; their prefixes are: {there}. `sensor-ingest feed infer FILE` "
            "declares a feed from a sample; `sensor-ingest deploy` saves what is in deployments/feeds/."
        )


class ChosenFeed(NamedTuple):
    """The feed that a key belongs to."""

    feed: Feed
    key_values: Mapping[str, str]
    """The fields that come from the key, as texts."""


class Feeds:
    """The feeds of one deployment: no two have the same name or prefix, and those of one table have its key."""

    def __init__(self, feeds: Iterable[Feed], incoming_prefix: str = "") -> None:
        """Check the feeds together.

        Args:
            feeds: in any order.
            incoming_prefix: what the prefix of each has to start with, as files land there.

        Raises:
            FeedsConflictError: they contradict one another.
        """
        self.all = sorted(feeds, key=lambda feed: feed.name)
        if problems := [*self._conflicts(), *self._outside(incoming_prefix)]:
            raise FeedsConflictError(problems)

    def of_key(self, key: str) -> ChosenFeed:
        """The feed whose prefix covers most of the key; of two that cover as much, the one with more literal text.

        A file that no prefix covers, as a run can be given one from anywhere, has the sensor file's feed.

        Raises:
            FeedMissingError: no feed covers the key, and there is no feed of the sensor file.
        """
        found = [
            (covered[0], sum(map(len, prefix.literals)), feed.prefix, ChosenFeed(feed, covered[1]))
            for feed in self.all
            if (covered := (prefix := Prefix.parsed(feed.prefix)).values(key))
        ]
        if not found:
            if sensors := [feed for feed in self.all if feed.name == SENSOR_READINGS.name]:
                return ChosenFeed(sensors[0], {})
            raise FeedMissingError(key, sorted(feed.prefix for feed in self.all))
        return max(found, key=lambda each: each[:3])[3]

    def _conflicts(self) -> list[str]:
        problems, names, shapes = list[str](), dict[str, Feed](), dict[str, Feed]()
        tables = {SENSOR_READINGS.storage.table: SENSOR_READINGS}
        for feed in self.all:
            if feed.name in names:
                problems.append(f"two are named {feed.name}: rename one")
            names[feed.name] = feed
            shape = Prefix.parsed(feed.prefix).shape
            if other := shapes.get(shape):
                problems.append(
                    f"{other.name} and {feed.name} have the same prefix {feed.prefix}: change one of the two"
                )
            shapes[shape] = feed
            owner = tables.setdefault(feed.storage.table, feed)
            if key_of(owner) != key_of(feed):
                problems.append(_other_key(feed, owner))
        return problems

    def _outside(self, incoming_prefix: str) -> list[str]:
        return [
            f"the prefix {feed.prefix} of {feed.name} does not start with {incoming_prefix}, where files land"
            for feed in self.all
            if not Prefix.parsed(feed.prefix).fixed.startswith(incoming_prefix)
        ]


def _other_key(feed: Feed, owner: Feed) -> str:
    table = feed.storage.table or "the readings table"
    return (
        f"{table} has the key {key_text(key_of(owner))} (feed {owner.name}), and {feed.name} has "
        f"{key_text(key_of(feed))}: give {feed.name} a table of its own in storage.table"
    )
