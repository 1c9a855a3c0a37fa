"""Streams to validate, and what is in a validated file."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.rows import ValidatedFile


class Stream:
    """A stream of the chunks of an iterator, without `seek` or a size, and never in memory as a whole."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._unread = b""

    def read(self, size: int = -1) -> bytes:
        self._unread = self._unread or next(self._chunks, b"")
        chunk, self._unread = self._unread[:size], self._unread[size:]
        return chunk


class Chunks(io.BytesIO):
    """A stream whose reads return at most `next_size()` bytes."""

    def __init__(self, content: bytes, next_size: Callable[[], int]) -> None:
        super().__init__(content)
        self._next_size = next_size

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._next_size()
        return super().read(min(wanted, size) if size and size > 0 else wanted)


def rows_of(file: ValidatedFile) -> list[tuple[Any, ...]]:
    """The rows to store, as tuples in the order of the schema."""
    return [row for batch in file.items() for row in zip(*(each.to_pylist() for each in batch.columns), strict=True)]


def read_csv(path: Path) -> list[tuple[str, str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert ["line", "reason", "text"] == header
    return [(line, reason, text) for line, reason, text in rows]
