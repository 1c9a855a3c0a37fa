"""Physical lines of a file with any line ends, in blocks of bounded size."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

NEWLINE = b"\n"


def line_blocks(chunks: Iterable[bytes], max_line_bytes: int) -> Iterator[bytes]:
    r"""Blocks of whole lines, in order and complete; each line ends with `\n`.

    CRLF, LF and CR each end a line; the last line may have no end. A line longer than `max_line_bytes` is truncated to
    one byte more than that, so that its length still shows that it is too long. Hence a block is at most as large as a
    chunk and a line.
    """
    tail = b""
    for chunk in _with_newlines(chunks):
        end_of_lines = chunk.rfind(NEWLINE) + 1
        if end_of_lines:
            yield tail + chunk[:end_of_lines]
            tail = b""
        tail = (tail + chunk[end_of_lines:])[: max_line_bytes + 1]
    if tail:
        yield tail + NEWLINE


def line_array(block: bytes) -> pa.StringArray:
    r"""The lines of a block, each with its `\n`, as strings that share the memory of the block.

    They are not validated as UTF-8, so pass them only to regular expressions, which skip invalid bytes.
    """
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord(NEWLINE))
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends + 1
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))


def line_contents(lines: pa.StringArray) -> list[bytes]:
    r"""The lines as bytes, without their `\n`."""
    return [line.removesuffix(NEWLINE) for line in lines.cast(pa.binary()).to_pylist()]


def _with_newlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending_cr = b""  # a CR at the end of a chunk, until the next chunk shows whether an LF follows
    for chunk in chunks:
        text = pending_cr + chunk
        pending_cr = b"\r" if text.endswith(b"\r") else b""
        yield text[: len(text) - len(pending_cr)].replace(b"\r\n", NEWLINE).replace(b"\r", NEWLINE)
    if pending_cr:
        yield NEWLINE
