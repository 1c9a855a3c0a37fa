"""Physical lines, whatever ends them, in blocks of bounded size."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

NEWLINE = b"\n"


def line_blocks(pieces: Iterable[bytes], max_line_bytes: int) -> Iterator[bytes]:
    r"""Blocks of whole lines, each line ended by `\n`, in order and none left out.

    CRLF, LF and CR all end a line, and the last line needs no end. A line longer than `max_line_bytes` comes cut, and
    still longer than that, so that who reads it can tell; blocks are therefore no larger than a piece and a line.
    """
    tail = b""
    for piece in _with_newlines(pieces):
        end_of_lines = piece.rfind(NEWLINE) + 1
        if end_of_lines:
            yield tail + piece[:end_of_lines]
            tail = b""
        tail = (tail + piece[end_of_lines:])[: max_line_bytes + 1]
    if tail:
        yield tail + NEWLINE


def as_array(block: bytes) -> pa.StringArray:
    """The lines of a block, with their ends, as strings that share its memory.

    Nobody has looked yet whether they are UTF-8: only regular expressions, which skip what is not, may read them.
    """
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord(NEWLINE))
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends + 1
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))


def contents_of(lines: pa.StringArray) -> list[bytes]:
    """The lines as bytes, without their ends."""
    return [line.removesuffix(NEWLINE) for line in lines.cast(pa.binary()).to_pylist()]


def _with_newlines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""  # a CR at the end of a piece, until it is known whether an LF follows
    for piece in pieces:
        text = held + piece
        held = b"\r" if text.endswith(b"\r") else b""
        yield text[: len(text) - len(held)].replace(b"\r\n", NEWLINE).replace(b"\r", NEWLINE)
    if held:
        yield NEWLINE
