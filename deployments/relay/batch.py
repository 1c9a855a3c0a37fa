"""Messages that go on together, and which versions of files went on before. Pure rules, no I/O."""

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blocks.domain.limits import BYTES_PER_EVENT, CONTENT_BYTES_PER_EVENT, FILES_PER_EVENT, json_bytes
from blocks.domain.models import NO_VERSION, SensorFile

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

REMEMBERED: Final = 50_000
"""Versions that are known for doubles: some 6 MB. An older double costs a run that finds nothing to do."""

Identity = tuple[Hashable, ...]


def identity(file: SensorFile) -> Identity:
    """What makes two announcements of a file doubles: its version; without versioning, the one write that S3 counted.

    An ETag alone does not do: the same bytes, dropped again after they were moved away, are a new arrival.
    """
    versioned = file.version_id not in (None, "", NO_VERSION)
    return (file.bucket, file.key, file.version, None if versioned else file.sequencer)


class Recent:
    """The versions that went on last, so many that doubles are found and memory stays bounded."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._digests: dict[bytes, None] = {}

    def __contains__(self, file: SensorFile) -> bool:
        return _digest(file) in self._digests

    def add(self, files: Iterable[SensorFile]) -> None:
        """Remember these, and forget the oldest of what is too much."""
        self._digests.update(dict.fromkeys(map(_digest, files)))
        while len(self._digests) > self._capacity:
            del self._digests[next(iter(self._digests))]


def _digest(file: SensorFile) -> bytes:
    return hashlib.blake2b(json.dumps(identity(file)).encode(), digest_size=16).digest()


@dataclass
class Batch:
    """Messages that were received together, and the files that they announce, each version once."""

    files: dict[Identity, SensorFile] = field(default_factory=dict)
    doubles: int = 0
    _waiting: list[tuple["MessageTypeDef", set[Identity]]] = field(default_factory=list)
    _bytes: int = 0
    _content: int = 0

    def add(self, message: "MessageTypeDef", files: Sequence[SensorFile], known: Recent) -> None:
        """Take a message in hand, and those of its files that are neither in this batch nor known."""
        announced = {identity(file): file for file in files}
        new = {key: file for key, file in announced.items() if key not in self.files and file not in known}
        self.doubles += len(files) - len(new)
        self.files.update(new)
        self._bytes += sum(map(json_bytes, new.values()))
        self._content += sum(file.size or 0 for file in new.values())
        self._waiting.append((message, {key for key in announced if key in self.files}))

    @property
    def messages(self) -> list["MessageTypeDef"]:
        """Those that are in hand."""
        return [message for message, _ in self._waiting]

    @property
    def is_full(self) -> bool:
        """Whether one event would carry no more, or hardly more."""
        return (
            len(self.files) >= FILES_PER_EVENT
            or self._bytes >= BYTES_PER_EVENT
            or self._content >= CONTENT_BYTES_PER_EVENT
        )

    @property
    def oldest(self) -> float | None:
        """When the first message in hand was sent (seconds since the epoch)."""
        sent = [message.get("Attributes", {}).get("SentTimestamp") for message in self.messages]
        return min((int(each) / 1000 for each in sent if each), default=None)

    def settle(self, announced: Iterable[SensorFile]) -> list["MessageTypeDef"]:
        """The messages of which nothing is left to announce now that these files were; they are in hand no more."""
        done = {identity(file) for file in announced}
        self._waiting = [(message, keys - done) for message, keys in self._waiting]
        finished = [message for message, keys in self._waiting if not keys]
        self._waiting = [(message, keys) for message, keys in self._waiting if keys]
        return finished
