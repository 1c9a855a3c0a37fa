"""Items as request bodies of BatchWriteItem, built column by column, not row by row."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocks.dynamodb.attributes import attribute_type_of

ITEMS_PER_BATCH: Final = 25
REQUEST_BYTES: Final = 16_000_000
"""Source of both: "BatchWriteItem", Amazon DynamoDB API reference; 16 MB here without the 777,216 bytes of MiB."""

ROWS_PER_WINDOW: Final = 500_000
BYTES_PER_WINDOW: Final = 64 * 2**20
"""Rows that are shuffled together, whichever limit they reach first; they are twice in memory."""

_ROWS_PER_BLOCK: Final = 400 * ITEMS_PER_BATCH  # about 1 MB of bodies, large enough for full speed
_BYTES_PER_BLOCK: Final = 4 * 2**20
_NEEDS_ESCAPE: Final = r'["\\\x00-\x1f]'  # characters that a JSON string must escape; RFC 8259, section 7


def request_bodies_of(batches: Iterable[pa.RecordBatch], table_name: str) -> Iterator[list[bytes]]:
    """Request bodies, some hundred at a time; each item once, all bodies full but the last of a window.

    The rows of a window are shuffled, with the same result every time: a file sorted by its partition key would
    otherwise send thousands of items in a row to one partition, which accepts 1,000 a second.

    Args:
        batches: rows of one schema, see `attributes`; the first column has no nulls.
        table_name: the table that the items are for.
    """
    for window in _windows(batches):
        order = np.random.default_rng(seed=len(window)).permutation(len(window))
        shuffled = window.take(pa.array(order))
        step = max(1, min(_ROWS_PER_BLOCK, _BYTES_PER_BLOCK * len(window) // max(1, window.nbytes)))
        for start in range(0, len(shuffled), step):
            yield _bodies(_items(shuffled.slice(start, step)), table_name)


def body_of(puts: list[Any], table_name: str) -> bytes:
    """One body with these `PutRequest`s, such as the unprocessed ones of a response."""
    return json.dumps({"RequestItems": {table_name: puts}}, ensure_ascii=False).encode()


def _windows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in pieces that reach a limit of a window, but for the last; none is empty."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if len(batch):
            waiting.append(batch)
            rows, size = rows + len(batch), size + batch.nbytes
        if rows >= ROWS_PER_WINDOW or size >= BYTES_PER_WINDOW:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _items(rows: pa.Table) -> pa.Array:
    """The JSON text of a `PutRequest` for each row."""
    pieces: list[Any] = ['{"PutRequest":{"Item":{']
    for place, column in enumerate(rows.schema):
        pieces += _attribute(column, rows[column.name], separator="," if place else "")
    return _joined(_merged([*pieces, "}}}"]))


def _attribute(column: pa.Field, values: pa.ChunkedArray, separator: str) -> list[Any]:
    """The JSON text of an attribute for each row, as pieces to join; empty where the value is null."""
    type_ = attribute_type_of(column)
    quote = "" if type_ == "BOOL" else '"'
    start, end = f'{separator}{json.dumps(column.name, ensure_ascii=False)}:{{"{type_}":{quote}', f"{quote}}}"
    text = _json_text(values if pa.types.is_string(column.type) else values.cast(pa.string()))
    return [start, text, end] if not values.null_count else [pc.fill_null(_joined([start, text, end]), "")]


def _merged(pieces: list[Any]) -> list[Any]:
    """The same pieces with constant neighbours joined: each piece costs a pass over the rows."""
    merged = pieces[:1]
    for piece in pieces[1:]:
        if isinstance(piece, str) and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _json_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pc.any(pc.match_substring_regex(column, _NEEDS_ESCAPE)).as_py():
        return column
    escaped = [text if text is None else json.dumps(text)[1:-1] for text in column.to_pylist()]
    return pa.chunked_array([pa.array(escaped, column.type)])


def _bodies(items: pa.Array, table_name: str) -> list[bytes]:
    longest = pc.max(pc.binary_length(items)).as_py()
    per_batch = max(1, min(ITEMS_PER_BATCH, REQUEST_BYTES // (longest + 1)))
    starts = np.append(np.arange(0, len(items), per_batch), len(items))
    batches = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), items)
    opening = f'{{"RequestItems":{{{json.dumps(table_name)}:['
    bodies: list[bytes] = _joined([opening, pc.binary_join(batches, ","), "]}}"]).cast(pa.binary()).to_pylist()
    return bodies


def _joined(pieces: list[Any]) -> pa.Array:
    texts = [pa.scalar(piece, pa.string()) if isinstance(piece, str) else piece for piece in pieces]
    return _whole(pc.binary_join_element_wise(*texts, pa.scalar("", pa.string())))


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
