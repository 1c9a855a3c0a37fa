"""Valid rows in an Arrow file in the workspace, and which of them are accepted: the last one of each key."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from blocks.domain.readings_summary import ReadingsSummary
from flows.rows.arrays import filter_rows
from flows.rows.duplicates import DuplicateFinder, replaced_by_later
from flows.rows.row_keys import RowKeys
from flows.rows.rules import RowRules
from flows.rows.settings import ValidationSettings
from flows.rows.summary_builder import SummaryBuilder
from flows.rows.time_to_live import TimeToLive


@dataclass(frozen=True)
class AcceptedRows:
    """Reads the accepted rows from disk."""

    path: Path
    replaced_path: Path | None
    """One byte for each stored row, 1 if a later row replaces it; None if no stored row is replaced."""
    schema: pa.Schema
    constants: Mapping[str, pa.Scalar]
    """The attributes that come from the object's key: the same in all rows, so they are not on disk."""
    time_to_live: TimeToLive | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The accepted rows in file order as items; no batch is empty."""
        for rows in self.stored_batches():
            columns = [
                pa.repeat(self.constants[name], len(rows)) if name in self.constants else rows[name]
                for name in self.schema.names
            ]
            items = pa.RecordBatch.from_arrays(columns, schema=self.schema)
            yield self.time_to_live.added(items) if self.time_to_live else items

    def stored_batches(self) -> Iterator[pa.RecordBatch]:
        """The accepted rows in file order, with the columns that are on disk."""
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

    def __init__(self, workspace: Path, settings: ValidationSettings, rules: RowRules) -> None:
        self._rows_path = workspace / "accepted.arrow"
        self._replaced_path = workspace / "replaced.bool"
        self._rules, self._time_to_live = rules, TimeToLive.of(settings.feed, rules)
        self._keys = RowKeys(settings.feed, rules)
        self._summary = SummaryBuilder(rules, self._keys)
        self._files = ExitStack()
        memory_bytes = settings.duplicate_memory_bytes // settings.concurrent_processes
        finder = DuplicateFinder(workspace / "keys.int64", memory_bytes, self._keys.words)
        self._duplicates = self._files.enter_context(finder)
        self._writer = self._files.enter_context(pa.ipc.new_stream(self._rows_path, rules.stored_schema))
        self._stored = self._replaced_unstored = self._replaced_stored = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def rows(self) -> AcceptedRows:
        replaced_path = self._replaced_path if self._replaced_stored else None
        rules = self._rules
        return AcceptedRows(self._rows_path, replaced_path, rules.schema, rules.constants, self._time_to_live)

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
        if self._replaced_stored:  # the timeline has counted replaced rows; the number of partition keys is the same
            self._summary.restart_timeline(self.rows.stored_batches())
        return self._summary.summary()

    def add(self, rows: pa.RecordBatch) -> None:
        """Store rows of the rules' `stored_schema`, except those that a later one of `rows` replaces.

        So a key is stored at most once per call, which keeps the partitions of `DuplicateFinder` about equal in size.
        """
        if not len(rows):
            return
        partitions, keys = self._keys.of(rows)
        self._summary.add_partitions(partitions)
        replaced = replaced_by_later(keys)
        if replaced.any():
            rows, keys = rows.filter(pa.array(~replaced)), keys[~replaced]
        self._summary.add(rows)
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
