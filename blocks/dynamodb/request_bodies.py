"""Readings as request bodies of BatchWriteItem, built column by column, not row by row."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

ITEMS_PER_BATCH: Final = 25
"""Source: "BatchWriteItem", Amazon DynamoDB API reference."""

ROWS_PER_WINDOW: Final = 500_000
"""Rows that are shuffled together; in memory they take about 30 bytes each, twice."""

_ROWS_PER_BLOCK: Final = 400 * ITEMS_PER_BATCH  # about 1 MB of bodies, large enough for full speed
_NEEDS_ESCAPE: Final = r'["\\\x00-\x1f]'  # characters that a JSON string must escape; RFC 8259, section 7
_SCHEMA: Final = pa.schema({"sensor_id": pa.string(), "timestamp": pa.int64(), "value": pa.string()})


def request_bodies_of(frames: Iterable[pd.DataFrame], table_name: str) -> Iterator[list[bytes]]:
    """Request bodies, some hundred at a time; each item once, all bodies full but the last of a window.

    The rows of a window are shuffled, with the same result every time: a file sorted by sensor would otherwise send
    thousands of items in a row to one partition, which accepts 1,000 a second.

    Args:
        frames: columns `sensor_id`, `timestamp` (epoch seconds) and `value` (decimal text).
        table_name: the table that the items are for.
    """
    for window in _windows(frames):
        order = np.random.default_rng(seed=len(window)).permutation(len(window))
        shuffled = window.take(pa.array(order))
        for start in range(0, len(shuffled), _ROWS_PER_BLOCK):
            yield _bodies(_items(shuffled.slice(start, _ROWS_PER_BLOCK)), table_name)


def body_of(puts: list[Any], table_name: str) -> bytes:
    """One body with these `PutRequest`s, such as the unprocessed ones of a response."""
    return json.dumps({"RequestItems": {table_name: puts}}, ensure_ascii=False).encode()


def _windows(frames: Iterable[pd.DataFrame]) -> Iterator[pa.Table]:
    """The rows in pieces of at least `ROWS_PER_WINDOW`, but for the last; none is empty."""
    waiting: list[pa.Table] = []
    for frame in frames:
        columns = [pa.Array.from_pandas(frame[name], type=_SCHEMA.field(name).type) for name in _SCHEMA.names]
        waiting.append(pa.table([_whole(column) for column in columns], schema=_SCHEMA))
        if sum(len(rows) for rows in waiting) >= ROWS_PER_WINDOW:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if any(len(rows) for rows in waiting):
        yield pa.concat_tables(waiting).combine_chunks()


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _items(rows: pa.Table) -> pa.Array:
    """The JSON text of a `PutRequest` for each row."""
    pieces = [
        '{"PutRequest":{"Item":{"sensor_id":{"S":"',
        _json_text(rows["sensor_id"]),
        '"},"timestamp":{"N":"',
        rows["timestamp"].cast(pa.string()),
        '"},"value":{"N":"',
        _json_text(rows["value"]),
        '"}}}}',
    ]
    return _joined(pieces)


def _json_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pc.any(pc.match_substring_regex(column, _NEEDS_ESCAPE)).as_py():
        return column
    return pa.chunked_array([[json.dumps(text)[1:-1] for text in column.to_pylist()]], column.type)


def _bodies(items: pa.Array, table_name: str) -> list[bytes]:
    starts = np.append(np.arange(0, len(items), ITEMS_PER_BATCH), len(items))
    batches = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), items)
    opening = f'{{"RequestItems":{{{json.dumps(table_name)}:['
    bodies: list[bytes] = _joined([opening, pc.binary_join(batches, ","), "]}}"]).cast(pa.binary()).to_pylist()
    return bodies


def _joined(pieces: list[Any]) -> pa.Array:
    texts = [pa.scalar(piece, pa.string()) if isinstance(piece, str) else piece for piece in pieces]
    return _whole(pc.binary_join_element_wise(*texts, pa.scalar("", pa.string())))
