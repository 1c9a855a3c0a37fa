"""The feeds in files: those of this project, or of the folder that `SENSOR_INGEST_FEEDS` names."""

from pathlib import Path

from blocks.domain.feed.descriptor import Feed, FeedInvalidError
from blocks.domain.feed.documents import feed_of_json
from blocks.domain.feed.faults import Fault
from blocks.domain.s3_keys import DEFAULT_INCOMING
from deployments.settings import Settings


def feeds_in_files(folder: Path | None = None) -> list[Feed]:
    """The feeds of all `*.json` in the folder, by default in that of the settings.

    Raises:
        FeedInvalidError: one declares no feed that can be used.
        OSError: a file cannot be read.
    """
    paths = sorted((folder or Settings().feeds).glob("*.json"))
    feeds = [feed_of_json(path.read_bytes(), str(path)) for path in paths]
    for feed, path in zip(feeds, paths, strict=True):
        check_prefix(feed, str(path))
    return feeds


def check_prefix(feed: Feed, source: str) -> None:
    """Return if files of the feed can land: in files, all prefixes start with the default incoming prefix.

    Raises:
        FeedInvalidError: they cannot; no event would announce them.
    """
    if not feed.prefix.startswith(DEFAULT_INCOMING):
        problem = f"{feed.prefix!r} does not start with {DEFAULT_INCOMING}, so no file under it would be announced"
        remedy = f"begin it with {DEFAULT_INCOMING}; `deploy` puts another incoming prefix of the stack in its place"
        raise FeedInvalidError(source, [Fault("prefix", problem, remedy)])
