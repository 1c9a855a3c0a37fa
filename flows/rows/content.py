"""Detection of the content of a file by its first bytes, and decompression of gzip."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

from flows.rows.settings import RefusedError, ValidationSettings

HEAD_BYTES = 4096
READ_BYTES = 2**20
GZIP = b"\x1f\x8b"
UTF8_BOM = b"\xef\xbb\xbf"

# Source: each format's own specification. A signature of letters only is either left out or long enough that no line of
# text starts with it; `BZh9` alone could start one.
SIGNATURES: dict[bytes, str] = {
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"II*\x00": "a TIFF image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive, or a workbook such as Excel's .xlsx",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document such as Excel's .xls",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\x00": "xz-compressed data; of compressed files only gzip is read",
    b"BZh91AY&SY": "bzip2-compressed data; of compressed files only gzip is read",
    b"\x28\xb5\x2f\xfd": "zstd-compressed data; of compressed files only gzip is read",
    b"PAR1\x15": "a Parquet file",
    b"ARROW1\x00\x00": "an Arrow or Feather file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x7fELF": "a program",
    # UTF-32 before UTF-16: its byte-order mark in little-endian order starts with that of UTF-16.
    b"\xff\xfe\x00\x00": "UTF-32 text; save it as UTF-8",
    b"\x00\x00\xfe\xff": "UTF-32 text; save it as UTF-8",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


class CountingReader(io.RawIOBase):
    """A raw stream that counts the bytes read. Unlike many network bodies, it reads short only at the end."""

    def __init__(self, source: BinaryIO | io.BufferedIOBase, on_read: Callable[[int], None] | None = None) -> None:
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

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except EOFError as error:
            raise RefusedError("looks like gzip, and ends too early: the upload was cut off") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise RefusedError("looks like gzip, and is damaged") from error


def open_csv(
    source: BinaryIO, settings: ValidationSettings, progress: Callable[[int], None] | None
) -> io.BufferedReader:
    """The CSV text in `source` as bytes: decompressed if it is gzip, and without a byte-order mark.

    Args:
        source: a binary stream; it need not be seekable.
        settings: the limits of decompression.
        progress: called with the number of bytes of `source` read so far.

    Raises:
        RefusedError: the first bytes are the signature of a file type that is not text; or, also while the result is
            read, the gzip stream is truncated, damaged, or expands beyond the limits.
    """
    stored = CountingReader(source, progress)
    content: io.BufferedReader = io.BufferedReader(stored, READ_BYTES)
    if content.peek().startswith(GZIP):
        content = _decompressed(content, stored, settings)
    head = content.peek()
    if head.startswith(GZIP):
        raise RefusedError("looks like gzip inside gzip")
    if file_type := next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None):
        raise RefusedError(f"looks like {file_type}")
    if head.startswith(UTF8_BOM):
        content.read(len(UTF8_BOM))
    return content


def guess_file_type(head: bytes) -> str | None:
    """The file type that the first bytes of a file suggest; None if they are ordinary text.

    The guess only explains the refusal of a file with too many rejects. It never causes a refusal, as the rows from
    line two on may be valid.
    """
    zeros = head.count(0)
    if zeros > len(head) * 0.4 and min(head[::2].count(0), head[1::2].count(0)) < zeros * 0.1:
        return "UTF-16 text; save it as UTF-8"
    if sum(head.count(code) for code in range(32) if code not in b"\t\n\r\f") > len(head) * 0.1:
        return "a binary file"
    if head.lstrip().startswith((b"{", b"[")):
        return "JSON"
    if head.lstrip().startswith(b"<"):
        return "HTML or XML"
    for separator, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if head.count(separator) > head.count(b","):
            return f"a table with {name} between its fields"
    return None


def _decompressed(
    compressed: io.BufferedReader, stored: CountingReader, settings: ValidationSettings
) -> io.BufferedReader:
    def check_limits(expanded_bytes: int) -> None:
        if expanded_bytes > settings.max_gzip_bytes:
            raise RefusedError(f"looks like gzip of more than {settings.max_gzip_bytes:,} bytes, which is the limit")
        if expanded_bytes > settings.free_gzip_bytes and expanded_bytes > stored.bytes_read * settings.max_gzip_ratio:
            raise RefusedError(f"looks like a gzip bomb: it expands more than {settings.max_gzip_ratio}-fold")

    return io.BufferedReader(_GzipReader(gzip.GzipFile(fileobj=compressed), check_limits), HEAD_BYTES)
