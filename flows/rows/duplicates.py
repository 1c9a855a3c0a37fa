"""Rows that a later row with the same key replaces, found exactly and in bounded memory.

The keys of all rows are in a file, 8 or 16 bytes each; see `keys`. If they do not fit into memory together, the file
is read once for each partition of the keys. The partition of a key depends on a hash of it; within a partition the keys
themselves are compared.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Self, cast

import numpy as np
import pandas as pd

from flows.rows.arrays import Integers, Mask

BYTES_PER_KEY = {1: 64, 2: 96}
"""Memory for each key of a partition by its 64-bit words, measured: the key, its row number, and the hash table of
pandas."""

_KEYS_PER_READ = 2**17  # a MiB or two, which fits into the processor's cache
_HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: multiplicative hashing, Knuth, TAOCP 3, 6.4
_32_BITS = np.uint64(32)


def replaced_by_later(keys: Integers) -> Mask:
    """True for each key that occurs again later in the array; a key is an integer, or a row of two."""
    if keys.ndim == 1:
        return cast("Mask", pd.Series(keys, copy=False).duplicated(keep="last").to_numpy())
    replaced = pd.Series(keys[:, 0], copy=False).duplicated(keep=False).to_numpy(copy=True)
    if replaced.any():
        candidates = np.flatnonzero(replaced)
        replaced[candidates] = pd.DataFrame(keys[candidates]).duplicated(keep="last").to_numpy()
    return cast("Mask", replaced)


class DuplicateFinder:
    """Stores the keys of all rows in a file and finds the rows that a later row replaces."""

    def __init__(self, path: Path, memory_bytes: int, words: int = 1) -> None:
        """Store keys of so many 64-bit words."""
        self._path, self._words = path, words
        self._keys_per_partition = memory_bytes // BYTES_PER_KEY[words]
        self._file = path.open("wb")
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, keys: Integers) -> None:
        self._file.write(np.ascontiguousarray(keys).data)
        self._rows += len(keys)

    def replaced_rows(self) -> Iterator[Integers]:
        """The numbers, from 0, of the rows that a later row replaces: one array for each partition that has any."""
        self._file.flush()
        partitions = -(-self._rows // self._keys_per_partition)
        for partition in range(partitions):
            keys, rows = self._read_partition(partition, partitions)
            replaced = rows[replaced_by_later(keys)]
            if len(replaced):
                yield replaced

    def _read_partition(self, partition: int, partitions: int) -> tuple[Integers, Integers]:
        """The keys and row numbers of one of `partitions` parts of about equal size; equal keys are in one part."""
        chunks: list[tuple[Integers, Integers]] = []
        with self._path.open("rb") as file:
            for start in range(0, self._rows, _KEYS_PER_READ):
                keys: Integers = np.fromfile(file, np.int64, _KEYS_PER_READ * self._words)
                if self._words > 1:
                    keys = keys.reshape(-1, self._words)
                first = keys if self._words == 1 else np.ascontiguousarray(keys[:, 0])
                hashes = (first.view(np.uint64) * _HASH_MULTIPLIER) >> _32_BITS  # the upper bits, which are well mixed
                indices = np.flatnonzero((hashes * np.uint64(partitions)) >> _32_BITS == partition)
                chunks.append((keys[indices], indices + start))
        keys, rows = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        return keys, rows
