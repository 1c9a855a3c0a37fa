"""Accepted rows on disk, until it is known whether the file is taken and which of them count."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

from blocks.domain.readings_summary import ReadingsSummary
from flows.rows.arrays import only
from flows.rows.duplicates import KeyFile, replaced, row_keys, sensor_codes
from flows.rows.rules import RowRules
from flows.rows.timeline import SensorCount, TimelineBuilder

SCHEMA = pa.schema({"sensor_id": pa.string(), "timestamp": pa.int64(), "value": pa.string()})
_PANDAS_TYPES = {pa.string(): pd.StringDtype("pyarrow")}


@dataclass(frozen=True)
class StoredRows:
    """Rows on disk, and which of them count."""

    path: Path
    marks_path: Path | None
    """A byte for each row, 1 where a later row replaces it; none if no row is replaced."""

    def frames(self) -> Iterator[pd.DataFrame]:
        """The rows that count, in file order: `sensor_id` (string), `timestamp` (int64), `value` (string)."""
        return (rows.to_pandas(types_mapper=_PANDAS_TYPES.get) for rows in self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same as Arrow has it. None is empty."""
        marks = np.memmap(self.marks_path, np.bool_, "r") if self.marks_path else None
        start = 0
        # Read, where a path would be mapped: mapped pages count as this process's memory, in the end the whole file.
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                rows = batch if marks is None else only(batch, ~marks[start : start + len(batch)])
                start += len(batch)
                if len(rows):
                    yield rows


class Spool:
    """Stores rows in file order, in an Arrow file in the workspace, and finds out which of them count."""

    def __init__(self, workspace: Path, rules: RowRules) -> None:
        self._rows_path = workspace / "accepted.arrow"
        self._marks_path = workspace / "replaced.bool"
        self._codes = sensor_codes(rules)
        self._sensors, self._timeline = SensorCount(), TimelineBuilder()
        self._files = ExitStack()
        memory = rules.duplicate_memory_bytes // rules.memory_shared_by
        self._keys = self._files.enter_context(KeyFile(workspace / "keys.int64", memory))
        self._writer = self._files.enter_context(pa.ipc.new_stream(self._rows_path, SCHEMA))
        self._stored = self._replaced_at_once = self._marked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def rows(self) -> StoredRows:
        return StoredRows(self._rows_path, self._marks_path if self._marked else None)

    @property
    def accepted(self) -> int:
        """Rows that count. Before `mark_replaced`, some of them may yet be found replaced."""
        return self._stored - self._marked

    @property
    def replaced(self) -> int:
        """Rows that a later one replaced, as far as known."""
        return self._replaced_at_once + self._marked

    def summary(self) -> ReadingsSummary | None:
        """What the rows that count look like; none if there are none. To be asked once all replaced ones are known."""
        if not self._marked:
            return self._timeline.summary(self._sensors.sensors)
        counting = TimelineBuilder()
        for rows in self.rows.batches():
            counting.add(rows["timestamp"].to_numpy(), rows["value"])
        return counting.summary(self._sensors.sensors)  # of a sensor with a row that was replaced, another one counts

    def add(self, rows: pa.RecordBatch) -> None:
        """Store rows of `SCHEMA`, without those that a later one among them replaces.

        Leaving these out at once also bounds how often one key can be stored: once for each call.
        """
        if not len(rows):
            return
        codes = self._codes(rows["sensor_id"])
        self._sensors.add(codes)
        keys = row_keys(codes, rows["timestamp"].to_numpy())
        again = replaced(keys)
        if again.any():
            rows, keys = rows.filter(pa.array(~again)), keys[~again]
        self._timeline.add(rows["timestamp"].to_numpy(), rows["value"])
        self._writer.write_batch(rows)
        self._keys.add(keys)
        self._stored += len(rows)
        self._replaced_at_once += int(again.sum())

    def mark_replaced(self) -> None:
        """Find the stored rows that one of a later call replaces."""
        for rows in self._keys.replaced_rows():
            if not self._marked:
                with self._marks_path.open("wb") as file:
                    file.truncate(self._stored)  # a false for each row; only pages with a true in them take room
            marks = np.memmap(self._marks_path, np.bool_, "r+")
            marks[rows] = True
            self._marked += len(rows)
