"""The feeds in files: those of this project, or of the folder that `SENSOR_INGEST_FEEDS` names."""

from pathlib import Path

from blocks.domain.feed.descriptor import Feed
from blocks.domain.feed.documents import feed_of_json
from deployments.settings import Settings


def feeds_in_files(folder: Path | None = None) -> list[Feed]:
    """The feeds of all `*.json` in the folder, by default in that of the settings.

    Raises:
        FeedInvalidError: one declares no feed that can be used.
        OSError: a file cannot be read.
    """
    paths = sorted((folder or Settings().feeds).glob("*.json"))
    return [feed_of_json(path.read_bytes(), str(path)) for path in paths]
