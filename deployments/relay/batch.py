"""Which files are announced in one event, and which of them are duplicates. Pure rules, no I/O."""

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blocks.domain.limits import BYTES_PER_EVENT, CONTENT_BYTES_PER_EVENT, FILES_PER_EVENT, json_bytes
from blocks.domain.models import NO_VERSION, SensorFile

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

REMEMBERED_VERSIONS: Final = 50_000
"""About 6 MB. A duplicate of an older version starts a run that finds the file loaded already."""

VersionKey = tuple[Hashable, ...]


def version_key(file: SensorFile) -> VersionKey:
    """Equal for two announcements of the same upload: its version or, in a bucket without versioning, its sequencer.

    An ETag does not identify an upload: the same content, uploaded again after the first was archived, is a new file.
    """
    versioned = file.version_id not in (None, "", NO_VERSION)
    return (file.bucket, file.key, file.version, None if versioned else file.sequencer)


class RecentVersions:
    """The versions announced last, as digests; the number of them is bounded."""

    def __init__(self, capacity: int = REMEMBERED_VERSIONS) -> None:
        self._capacity = capacity
        self._digests: dict[bytes, None] = {}

    def __contains__(self, file: SensorFile) -> bool:
        return _digest(file) in self._digests

    def add(self, files: Iterable[SensorFile]) -> None:
        """Remember these versions; beyond the capacity, forget the oldest."""
        self._digests.update(dict.fromkeys(map(_digest, files)))
        while len(self._digests) > self._capacity:
            del self._digests[next(iter(self._digests))]


def _digest(file: SensorFile) -> bytes:
    return hashlib.blake2b(json.dumps(version_key(file)).encode(), digest_size=16).digest()


@dataclass
class Batch:
    """Messages in flight, and the files that they announce, each version once."""

    files: dict[VersionKey, SensorFile] = field(default_factory=dict)
    duplicates: int = 0
    _pending: list[tuple["MessageTypeDef", set[VersionKey]]] = field(default_factory=list)
    """Each message with those of its files that are still to be announced."""
    _bytes: int = 0
    _content_bytes: int = 0

    def add(self, message: "MessageTypeDef", files: Sequence[SensorFile], recent: RecentVersions) -> None:
        """Add a message, and those of its files that are neither in this batch nor announced recently."""
        announced = {version_key(file): file for file in files}
        new = {key: file for key, file in announced.items() if key not in self.files and file not in recent}
        self.duplicates += len(files) - len(new)
        self.files.update(new)
        self._bytes += sum(map(json_bytes, new.values()))
        self._content_bytes += sum(file.size or 0 for file in new.values())
        self._pending.append((message, announced.keys() & self.files.keys()))

    @property
    def messages(self) -> list["MessageTypeDef"]:
        return [message for message, _ in self._pending]

    @property
    def is_full(self) -> bool:
        """Whether a further file could exceed the limits of one event."""
        return (
            len(self.files) >= FILES_PER_EVENT
            or self._bytes >= BYTES_PER_EVENT
            or self._content_bytes >= CONTENT_BYTES_PER_EVENT
        )

    @property
    def oldest_sent_at(self) -> float | None:
        """When the oldest message was sent (seconds since the epoch)."""
        sent = [message.get("Attributes", {}).get("SentTimestamp") for message in self.messages]
        return min((int(each) / 1000 for each in sent if each), default=None)

    def take_completed(self, announced: Iterable[SensorFile] = ()) -> list["MessageTypeDef"]:
        """The messages that have no file left to announce, now that these were; they are removed from the batch."""
        done = {version_key(file) for file in announced}
        remaining = [(message, keys - done) for message, keys in self._pending]
        self._pending = [(message, keys) for message, keys in remaining if keys]
        return [message for message, keys in remaining if not keys]
