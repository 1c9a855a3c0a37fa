"""What a file holds, seen from its first bytes: text, compressed text, or something that no rule can read."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

from flows.rows.rules import RefusedError, RowRules

HEAD_BYTES = 4096
READ_BYTES = 2**20
GZIP = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"

# Source: each format's own specification. Signatures that are plain words are left out or taken long enough that no
# line of text starts with them: `BZh9` might.
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
    # UTF-32's mark starts with UTF-16's, so it is looked for first.
    b"\xff\xfe\x00\x00": "UTF-32 text; save it as UTF-8",
    b"\x00\x00\xfe\xff": "UTF-32 text; save it as UTF-8",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


class CountedStream(io.RawIOBase):
    """A stream that counts what was read from it and, unlike many a network body, never reads short of the end."""

    def __init__(self, source: BinaryIO | io.BufferedIOBase, on_read: Callable[[int], None] | None = None) -> None:
        """Read from `source`, and call `on_read` with the number of bytes read so far, after each read."""
        self.bytes_read = 0
        self._source = source
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than io's Buffer
        filled = 0
        while filled < len(buffer) and (piece := self._source.read(len(buffer) - filled)):
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        self.bytes_read += filled
        if self._on_read:
            self._on_read(self.bytes_read)
        return filled


class _Expanded(CountedStream):
    """The content of a gzip stream. What is wrong with it, or too much of it, is a `RefusedError`."""

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except EOFError as error:
            raise RefusedError("looks like gzip, and ends too early: the upload was cut off") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise RefusedError("looks like gzip, and is damaged") from error


def open_text(source: BinaryIO, rules: RowRules, progress: Callable[[int], None] | None) -> io.BufferedReader:
    """The text in `source`: decompressed where it is gzip, without its byte-order mark.

    Raises:
        RefusedError: the content is no text that could hold rows, or too much of it, here or while it is read.
    """
    stored = CountedStream(source, progress)
    content: io.BufferedReader = io.BufferedReader(stored, READ_BYTES)
    if content.peek().startswith(GZIP):
        content = _expanded(content, stored, rules)
    head = content.peek()
    if head.startswith(GZIP):
        raise RefusedError("looks like gzip inside gzip")
    if found := next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None):
        raise RefusedError(f"looks like {found}")
    if head.startswith(UTF8_MARK):
        content.read(len(UTF8_MARK))
    return content


def likeness(head: bytes) -> str | None:
    """What the start of a file looks like that turned out to hold hardly any rows; none for text like any other.

    A guess, for the words of a refusal only: a file is never refused for it, since its rows may be good from line two.
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


def _expanded(compressed: io.BufferedReader, stored: CountedStream, rules: RowRules) -> io.BufferedReader:
    def within_limits(expanded: int) -> None:
        if expanded > rules.max_gzip_bytes:
            raise RefusedError(f"looks like gzip of more than {rules.max_gzip_bytes:,} bytes, which is the limit")
        if expanded > rules.free_gzip_bytes and expanded > stored.bytes_read * rules.max_gzip_ratio:
            raise RefusedError(f"looks like a gzip bomb: it expands more than {rules.max_gzip_ratio}-fold")

    return io.BufferedReader(_Expanded(gzip.GzipFile(fileobj=compressed), within_limits), HEAD_BYTES)
