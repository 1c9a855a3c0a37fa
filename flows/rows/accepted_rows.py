"""Valid rows in an Arrow file in the workspace, and which of them are accepted: the last one of each key."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

from blocks.domain.readings_summary import ReadingsSummary
from flows.rows.arrays import filter_rows
from flows.rows.duplicates import DuplicateFinder, replaced_by_later, row_keys, sensor_id_encoder
from flows.rows.settings import ValidationSettings
from flows.rows.summary_builder import DistinctSensors, TimelineBuilder

SCHEMA = pa.schema({"sensor_id": pa.string(), "timestamp": pa.int64(), "value": pa.string()})
_PANDAS_TYPES = {pa.string(): pd.StringDtype("pyarrow")}


@dataclass(frozen=True)
class AcceptedRows:
    """Reads the accepted rows from disk."""

    path: Path
    replaced_path: Path | None
    """One byte for each stored row, 1 if a later row replaces it; None if no stored row is replaced."""

    def frames(self) -> Iterator[pd.DataFrame]:
        """The accepted rows in file order; no frame is empty.

        Columns: `sensor_id` (`string[pyarrow]`), `timestamp` (`int64`), `value` (`string[pyarrow]`).
        """
        return (rows.to_pandas(types_mapper=_PANDAS_TYPES.get) for rows in self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same rows as Arrow batches of `SCHEMA`."""
        replaced = np.memmap(self.replaced_path, np.bool_, "r") if self.replaced_path else None
        start = 0
        # The file is read, not mapped: mapped pages count as memory of the process, in the end those of the whole file.
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                rows = batch if replaced is None else filter_rows(batch, ~replaced[start : start + len(batch)])
                start += len(batch)
                if len(rows):
                    yield rows


class AcceptedRowsWriter:
    """Writes valid rows to disk in file order, and finds those that later rows replace."""

    def __init__(self, workspace: Path, settings: ValidationSettings) -> None:
        self._rows_path = workspace / "accepted.arrow"
        self._replaced_path = workspace / "replaced.bool"
        self._sensor_codes = sensor_id_encoder(settings)
        self._sensors, self._timeline = DistinctSensors(), TimelineBuilder()
        self._files = ExitStack()
        memory_bytes = settings.duplicate_memory_bytes // settings.concurrent_processes
        self._duplicates = self._files.enter_context(DuplicateFinder(workspace / "keys.int64", memory_bytes))
        self._writer = self._files.enter_context(pa.ipc.new_stream(self._rows_path, SCHEMA))
        self._stored = self._replaced_unstored = self._replaced_stored = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def rows(self) -> AcceptedRows:
        return AcceptedRows(self._rows_path, self._replaced_path if self._replaced_stored else None)

    @property
    def accepted(self) -> int:
        """The number of accepted rows. Final after `mark_replaced`."""
        return self._stored - self._replaced_stored

    @property
    def replaced(self) -> int:
        """The number of rows that a later row replaces. Final after `mark_replaced`."""
        return self._replaced_unstored + self._replaced_stored

    def summary(self) -> ReadingsSummary | None:
        """The summary of the accepted rows; None if no row is accepted. Call it after `mark_replaced`."""
        timeline = self._timeline
        if self._replaced_stored:  # the timeline has counted replaced rows; the number of sensors is the same
            timeline = TimelineBuilder()
            for rows in self.rows.batches():
                timeline.add(rows["timestamp"].to_numpy(), rows["value"])
        return timeline.summary(self._sensors.count)

    def add(self, rows: pa.RecordBatch) -> None:
        """Store rows of `SCHEMA`, except those that a later one of `rows` replaces.

        So a key is stored at most once per call, which keeps the partitions of `DuplicateFinder` about equal in size.
        """
        if not len(rows):
            return
        codes = self._sensor_codes(rows["sensor_id"])
        self._sensors.add(codes)
        keys = row_keys(codes, rows["timestamp"].to_numpy())
        replaced = replaced_by_later(keys)
        if replaced.any():
            rows, keys = rows.filter(pa.array(~replaced)), keys[~replaced]
        self._timeline.add(rows["timestamp"].to_numpy(), rows["value"])
        self._writer.write_batch(rows)
        self._duplicates.add(keys)
        self._stored += len(rows)
        self._replaced_unstored += int(replaced.sum())

    def mark_replaced(self) -> None:
        """Find the stored rows that a row of a later `add` replaces."""
        for rows in self._duplicates.replaced_rows():
            if not self._replaced_stored:
                with self._replaced_path.open("wb") as file:
                    file.truncate(self._stored)  # a sparse file of zeros: only pages with a 1 take space on disk
            marks = np.memmap(self._replaced_path, np.bool_, "r+")
            marks[rows] = True
            self._replaced_stored += len(rows)
