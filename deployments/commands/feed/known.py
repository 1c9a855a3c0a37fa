"""The feeds that commands know: those of the Prefect server, else those in files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.settings import get_current_settings

from blocks.domain.errors import SensorIngestError
from blocks.domain.feed.descriptor import Feed, FeedInvalidError
from blocks.domain.feed.documents import feed_of_json
from blocks.domain.feed.faults import Fault
from blocks.domain.feed.keys import key_of, key_text
from blocks.domain.feed.selection import Feeds, FeedsConflictError
from deployments.server.feed_files import check_prefix, feeds_in_files


class FeedUnknownError(SensorIngestError):
    """There is no feed of that name."""

    def __init__(self, name: str, names: Iterable[str]) -> None:
        super().__init__(
            f"There is no feed {name!r}; there are: {', '.join(names) or 'none'}. `sensor-ingest feed list`"
        )


@dataclass(frozen=True)
class KnownFeed:
    """A feed, and where its descriptor is."""

    feed: Feed
    saved: bool
    """Whether it is a block on the Prefect server; otherwise a file that `deploy` saves as one."""
    edited: bool = False
    """Whether a person has edited the block, so that `deploy` leaves it alone."""

    def as_document(self) -> dict[str, Any]:
        """What `feed list --json` prints of it."""
        return {
            "name": self.feed.name,
            "prefix": self.feed.prefix,
            "table": self.feed.storage.table,
            "key": [attribute._asdict() for attribute in key_of(self.feed)],
            "fields": [field.name for field in self.feed.table_schema.fields_],
            "saved": self.saved,
            "edited": self.edited,
        }


def known_feeds() -> list[KnownFeed]:
    """The feeds of the Prefect server that this process uses, by name; without one, those in files.

    Raises:
        BlockInvalidError: a saved feed cannot be used.
        FeedInvalidError: a file declares no feed that can be used.
    """
    if get_current_settings().api.url is None:
        return [KnownFeed(feed, saved=False) for feed in feeds_in_files()]
    from blocks.feeds import saved_feed_blocks  # with a server only: prefect_aws takes long to import

    return [KnownFeed(block.feed, saved=True, edited=block.is_edited) for block in saved_feed_blocks()]


def known_feed(name: str) -> Feed:
    """The feed of that name.

    Raises:
        FeedUnknownError: there is none.
    """
    found = {each.feed.name: each.feed for each in known_feeds()}
    if name not in found:
        raise FeedUnknownError(name, found)
    return found[name]


def as_rows(found: list[KnownFeed]) -> str:
    """What `feed list` prints: a line for each feed."""
    rows = [("name", "files", "table", "key", "")]
    for each in found:
        table, key = each.feed.storage.table or "(readings table)", key_text(key_of(each.feed))
        note = "edited in the UI: kept by deploy" if each.edited else "" if each.saved else "not deployed: in a file"
        rows.append((each.feed.name, each.feed.prefix, table, key, note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def faults_of_file(path: Path) -> tuple[list[Fault], Feed | None]:
    """What is wrong with the descriptor in a file, alone and beside the other feeds; and the feed it declares."""
    try:
        feed = feed_of_json(path.read_bytes(), str(path))
        check_prefix(feed, str(path))
    except FeedInvalidError as error:
        return error.faults, None
    others = [each.feed for each in known_feeds() if each.feed.name != feed.name]
    try:
        Feeds([*others, feed])
    except FeedsConflictError as error:
        return [Fault("", problem, "see `sensor-ingest feed list`") for problem in error.problems], feed
    return [], feed


def judged_text(path: Path, faults: list[Fault], feed: Feed | None) -> str:
    """What `feed check` prints."""
    if faults or feed is None:
        return "\n".join([f"{path}: {len(faults)} fault(s)", *(f"  {fault}" for fault in faults)])
    fields = ", ".join(f"{field.name} ({field.type})" for field in feed.table_schema.fields_)
    lines = [
        f"{path}: the feed {feed.name} can be used",
        f"  files   {feed.prefix}",
        f"  fields  {fields}",
        f"  table   {feed.storage.table or 'the readings table'}, key {key_text(key_of(feed))}",
    ]
    return "\n".join(lines)
