"""Detection of the content of a file by its first bytes."""

import io
from collections.abc import Callable
from typing import BinaryIO

from flows.rows.compression import CountingReader, compression_of, decompressed
from flows.rows.settings import RefusedError, ValidationSettings

READ_BYTES = 2**20
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
    b"\xfd7zXZ\x00": "xz-compressed data; of compressed files only gzip and zstd are read",
    b"BZh91AY&SY": "bzip2-compressed data; of compressed files only gzip and zstd are read",
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


def open_csv(
    source: BinaryIO, settings: ValidationSettings, progress: Callable[[int], None] | None
) -> io.BufferedReader:
    """The CSV text in `source` as bytes: decompressed if it is gzip or zstd, and without a byte-order mark.

    Args:
        source: a binary stream; it need not be seekable.
        settings: the limits of decompression.
        progress: called with the number of bytes of `source` read so far.

    Raises:
        RefusedError: the first bytes are the signature of a file type that is not text; or, also while the result is
            read, the compressed content is truncated, damaged, or expands beyond the limits.
    """
    stored = CountingReader(source, progress)
    content: io.BufferedReader = io.BufferedReader(stored, READ_BYTES)
    if compression := compression_of(content.peek()):
        content = decompressed(compression, content, stored, settings)
        if inner := compression_of(content.peek()):
            raise RefusedError(f"looks like {inner} inside {compression}")
    head = content.peek()
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
