"""The feed that `check` validates a file by."""

from pathlib import Path

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from blocks.domain.feed.documents import feed_of_json
from blocks.domain.feed.prefix import Prefix
from blocks.domain.feed.selection import ChosenFeed, Feeds
from blocks.domain.s3_keys import parse_s3_uri


def chosen_feed(file: str, feed: str | None, key: str | None) -> ChosenFeed:
    """The feed that is named, else the one that covers the key, else that of the sensor file.

    Args:
        file: a path, or an address, whose key is taken if none is given.
        feed: the name of a feed, or the path of a descriptor; a name has neither slash nor dot.
        key: the key that the file would land under. With a feed that is named, that of an address need not be one: the
            file may have been moved, to `refused/` for example.

    Raises:
        FeedInvalidError: the descriptor declares no feed that can be used.
        FeedMissingError: no feed covers the key.
        FeedUnknownError: there is no feed of that name.
        OSError: the descriptor cannot be read.
        ValueError: the address is invalid, or the key does not say what the feed's prefix asks for.
    """
    if feed:
        return _with_values(_named(feed), key, address=file)
    key = key or _key_of(file)
    if key is None:
        return ChosenFeed(SENSOR_READINGS, {})
    from deployments.commands.feed.known import known_feeds  # Prefect, which a plain check does not need

    return Feeds(each.feed for each in known_feeds()).of_key(key)


def _key_of(address: str) -> str | None:
    return parse_s3_uri(address)[1] if address.startswith("s3://") else None


def _named(feed: str) -> Feed:
    if "/" in feed or "." in feed:
        return feed_of_json(Path(feed).read_bytes(), feed)
    from deployments.commands.feed.known import known_feed  # as above

    return known_feed(feed)


def _with_values(feed: Feed, key: str | None, address: str) -> ChosenFeed:
    prefix = Prefix.parsed(feed.prefix)
    if key is None and prefix.values(_key_of(address) or ""):
        key = _key_of(address)
    if key is None and not prefix.fields:
        return ChosenFeed(feed, {})
    covered = prefix.values(key or "")
    if covered is None:
        names = ", ".join(prefix.fields)
        why = (
            f"{names} of {feed.name} come(s) from the key of the file"
            if key is None
            else f"{key} is no key of {feed.name}"
        )
        raise ValueError(f"{why}: give --key, as in {feed.prefix}FILE")
    return ChosenFeed(feed, covered[1])
