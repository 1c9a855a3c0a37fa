"""Rows are read as fast as the table takes them, and no faster."""

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from blocks.domain.errors import ThrottledError
from blocks.dynamodb import request_bodies
from blocks.dynamodb.batch_writer import BATCHES_IN_MEMORY
from blocks.readings_table import ReadingsTable
from tests.blocks.dynamodb.conftest import TABLE, credentials_for, rows
from tests.fakes.counting_server import CountingServer


def test_reading_stops_while_the_table_takes_nothing(server: CountingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.behave(script=10_000 * ["400 ThrottlingException"])
    monkeypatch.setattr(request_bodies, "ROWS_PER_WINDOW", 10_000)
    read = 0

    def frames() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for part in range(100):
            read += 10_000
            yield rows(10_000, start=10_000 * part)

    table = ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url), patience_seconds=1)
    with pytest.raises(ThrottledError):
        table.write(frames())
    assert read <= 25 * BATCHES_IN_MEMORY + 2 * 10_000


def test_rows_are_read_while_others_are_under_way(server: CountingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "ROWS_PER_WINDOW", 1_000)
    first_was_taken = threading.Event()

    def take(*_: object) -> list[object]:
        first_was_taken.set()
        return []

    monkeypatch.setattr(server.table, "take", take)

    def frames() -> Iterator[pa.RecordBatch]:
        yield rows(1_000)
        assert first_was_taken.wait(10)
        yield rows(1_000, start=1_000)

    table = ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url))
    assert 2_000 == table.write(frames())
