"""Decompression of gzip and zstd, recognized by content, within the limits of size and ratio."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO, Literal

import pyarrow as pa

from flows.rows.settings import RefusedError, ValidationSettings

HEAD_BYTES = 4096

Compression = Literal["gzip", "zstd"]

# Sources: RFC 1952, 2.3.1; RFC 8878, 3.1.1 and 3.1.2. A zstd file can start with a skippable frame, as from `pzstd`.
MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{bytes([first]) + b"\x2a\x4d\x18": "zstd" for first in range(0x50, 0x60)},
}


class CountingReader(io.RawIOBase):
    """A raw stream that counts the bytes read. Unlike many network bodies, it reads short only at the end."""

    def __init__(
        self, source: BinaryIO | io.BufferedIOBase | pa.NativeFile, on_read: Callable[[int], None] | None = None
    ) -> None:
        """Read from `source`, and call `on_read` after each read with the total number of bytes read."""
        self.bytes_read = 0
        self._source = source
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than io's Buffer
        filled = 0
        while filled < len(buffer) and (chunk := self._source.read(len(buffer) - filled)):
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        self.bytes_read += filled
        if self._on_read:
            self._on_read(self.bytes_read)
        return filled


class _GzipReader(CountingReader):
    """The decompressed content of a gzip stream.

    Raises:
        RefusedError: while reading, if the stream is truncated or damaged.
    """

    def __init__(self, compressed: io.BufferedReader, on_read: Callable[[int], None]) -> None:
        super().__init__(gzip.GzipFile(fileobj=compressed), on_read)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except EOFError as error:
            raise RefusedError("looks like gzip, and ends too early: the upload was cut off") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise RefusedError("looks like gzip, and is damaged") from error


class _ErrorKeepingReader(CountingReader):
    """A stream that keeps the error with which reading it failed."""

    error: Exception | None = None

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except Exception as error:
            self.error = error
            raise


class _ZstdReader(CountingReader):
    """The decompressed content of the frames of a zstd stream.

    Raises:
        RefusedError: while reading, if the stream is truncated, damaged, or takes more memory than libzstd allows.
    """

    def __init__(self, compressed: io.BufferedReader, on_read: Callable[[int], None]) -> None:
        self._compressed = _ErrorKeepingReader(compressed)
        super().__init__(pa.CompressedInputStream(self._compressed, "zstd"), on_read)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except OSError as error:
            # Arrow raises it for damaged content as for a lost connection, after which the load is tried again.
            if self._compressed.error:
                raise self._compressed.error from None
            raise RefusedError(f"looks like zstd, and {_zstd_problem(str(error))}") from error


def compression_of(head: bytes) -> Compression | None:
    """How a file with these first bytes is compressed; None if it is not."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def decompressed(
    compression: Compression, compressed: io.BufferedReader, stored: CountingReader, settings: ValidationSettings
) -> io.BufferedReader:
    """The decompressed content of `compressed`.

    Args:
        compression: of the content.
        compressed: the content, which is buffered.
        stored: the stream below this buffer; its bytes are those that the ratio is about.
        settings: the limits.

    Raises:
        RefusedError: while the result is read, if the content is truncated, damaged, or expands beyond the limits.
    """

    def check_limits(expanded_bytes: int) -> None:
        most, free, ratio = settings.max_expanded_bytes, settings.free_expanded_bytes, settings.max_expansion_ratio
        if expanded_bytes > most:
            raise RefusedError(f"looks like {compression} of more than {most:,} bytes, which is the limit")
        if expanded_bytes > free and expanded_bytes > stored.bytes_read * ratio:
            raise RefusedError(f"looks like a {compression} bomb: it expands more than {ratio}-fold")

    reader = {"gzip": _GzipReader, "zstd": _ZstdReader}[compression]
    return io.BufferedReader(reader(compressed, check_limits), HEAD_BYTES)


def _zstd_problem(message: str) -> str:
    """What is wrong with the content, by the message of Arrow or libzstd."""
    if "Truncated compressed stream" in message:
        return "ends too early: the upload was cut off"
    if "too much memory" in message:
        # libzstd's ZSTD_WINDOWLOG_LIMIT_DEFAULT, 27.
        return "takes more than 128 MiB to decompress; compress it with --long=27 at most"
    if "Dictionary mismatch" in message:
        return "was compressed with a dictionary, which is not in the file; compress it without one"
    return "is damaged"
