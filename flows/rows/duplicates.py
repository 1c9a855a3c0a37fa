"""Rows that a later row with the same key replaces, found exactly and in bounded memory.

A key is one 64-bit integer: the code of the sensor, then the timestamp. The code of an id such as `0000-0001` is the
number of its eight digits; ids of any other pattern are numbered in order of appearance. The keys of all rows are in a
file, 8 bytes each. If they do not fit into memory together, the file is read once for each partition of the keys. The
partition of a key depends on a hash of it; within a partition the keys themselves are compared.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from blocks.domain.limits import TIMESTAMP_BITS
from flows.rows.arrays import Integers, Mask, to_integers
from flows.rows.settings import RefusedError, ValidationSettings

EIGHT_DIGITS = r"\d{4}-\d{4}"
"""The pattern of the ids that `parse_eight_digits` reads. It stays as it is if the default pattern changes."""

BYTES_PER_KEY = 64
"""Memory for each key of a partition, measured: the key, its row number, and the hash table of pandas."""
BYTES_PER_SENSOR = 256
"""Memory for each distinct sensor id in `SensorIdDictionary`, measured with ids of up to 64 characters."""

_KEYS_PER_READ = 2**17  # a MiB, which fits into the processor's cache
_HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: multiplicative hashing, Knuth, TAOCP 3, 6.4
_32_BITS = np.uint64(32)


def sensor_id_encoder(settings: ValidationSettings) -> Callable[[pa.StringArray], Integers]:
    """A function from sensor ids to their codes: equal ids have equal codes, different ids different ones."""
    return parse_eight_digits if settings.sensor_id_pattern == EIGHT_DIGITS else SensorIdDictionary(settings)


def parse_eight_digits(sensor_ids: pa.StringArray) -> Integers:
    """The number of the eight digits of each id, all of which match `EIGHT_DIGITS`."""
    if not len(sensor_ids):
        return np.zeros(0, np.int64)
    text, count = pa.concat_arrays([sensor_ids]).buffers()[2], len(sensor_ids)
    first, last = (np.ndarray(count, "<u4", text, offset, strides=9) for offset in (0, 5))
    return (_parse_four_digits(first) * np.uint32(10_000) + _parse_four_digits(last)).astype(np.int64)


def _parse_four_digits(text: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The number of four ASCII digits, the first in the lowest byte: digits are joined to pairs, then the pairs."""
    digits = text & np.uint32(0x0F0F0F0F)
    pairs = ((digits * np.uint32(1 + (10 << 8))) >> np.uint32(8)) & np.uint32(0x00FF00FF)
    return (pairs * np.uint32(1 + (100 << 16))) >> np.uint32(16)


class SensorIdDictionary:
    """Dictionary encoding of sensor ids: the code of an id is its number in order of appearance."""

    def __init__(self, settings: ValidationSettings) -> None:
        self._max_ids = settings.duplicate_memory_bytes // BYTES_PER_SENSOR
        self._codes: dict[str, int] = {}

    def __call__(self, sensor_ids: pa.StringArray) -> Integers:
        """The code of each id.

        Raises:
            RefusedError: the file has more distinct ids than `duplicate_memory_bytes` allows.
        """
        encoded = sensor_ids.dictionary_encode()
        codes = [self._codes.setdefault(sensor_id, len(self._codes)) for sensor_id in encoded.dictionary.to_pylist()]
        if len(self._codes) > self._max_ids:
            raise RefusedError(
                f"has more than {self._max_ids:,} different sensor ids, which is what duplicate_memory_bytes has room "
                "for"
            )
        return np.array(codes, np.int64)[to_integers(encoded.indices)]


def row_keys(sensor_codes: Integers, timestamps: Integers) -> Integers:
    return (sensor_codes << TIMESTAMP_BITS) | timestamps


def replaced_by_later(keys: Integers) -> Mask:
    """True for each key that occurs again later in the array."""
    return cast("Mask", pd.Series(keys).duplicated(keep="last").to_numpy())


class DuplicateFinder:
    """Stores the keys of all rows in a file and finds the rows that a later row replaces."""

    def __init__(self, path: Path, memory_bytes: int) -> None:
        self._path = path
        self._keys_per_partition = memory_bytes // BYTES_PER_KEY
        self._file = path.open("wb")
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, keys: Integers) -> None:
        self._file.write(keys.data)
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
                keys = np.fromfile(file, np.int64, _KEYS_PER_READ)
                hashes = (keys.view(np.uint64) * _HASH_MULTIPLIER) >> _32_BITS  # the upper bits, which are well mixed
                indices = np.flatnonzero((hashes * np.uint64(partitions)) >> _32_BITS == partition)
                chunks.append((keys[indices], indices + start))
        keys, rows = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        return keys, rows
