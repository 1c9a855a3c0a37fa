"""Rows that a later row with the same key replaces, found in bounded memory and without a collision of hashes.

A key is one 64-bit number: a code of the sensor, then the second. The code of an id like `0000-0001` is its eight
digits; ids of any other pattern are numbered as they appear. Keys wait in a file, 8 bytes a row, and are gone through
in as many passes as memory demands, each pass looking at its share of them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from blocks.domain.limits import TIMESTAMP_BITS
from flows.rows.arrays import Mask, Numbers, to_numbers
from flows.rows.rules import RefusedError, RowRules

EIGHT_DIGITS = r"\d{4}-\d{4}"
"""The pattern whose ids `digits_of` can read. The default pattern today; it stays what it is if that one changes."""

BYTES_PER_KEY = 64
"""Memory of a pass for each of its keys, measured: the key, its row number, and pandas' hash table."""
BYTES_PER_SENSOR = 256
"""Memory for each distinct sensor id that is numbered, measured with ids of up to 64 characters."""

_KEYS_READ_AT_ONCE = 2**17  # a MiB, which stays in the processor's cache
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Knuth's multiplicative hashing, TAOCP volume 3, 6.4
_HALF = np.uint64(32)


def sensor_codes(rules: RowRules) -> Callable[[pa.StringArray], Numbers]:
    """The function that turns sensor ids into numbers, the same for the same id and never for another."""
    return digits_of if rules.sensor_id_pattern == EIGHT_DIGITS else SensorNumbers(rules.duplicate_memory_bytes)


def digits_of(sensor_ids: pa.StringArray) -> Numbers:
    """The eight digits of each id like `0000-0001`, as a number."""
    if not len(sensor_ids):
        return np.zeros(0, np.int64)
    text, count = pa.concat_arrays([sensor_ids]).buffers()[2], len(sensor_ids)
    first, last = (np.ndarray(count, "<u4", text, offset, strides=9) for offset in (0, 5))
    return (_four_digits(first) * np.uint32(10_000) + _four_digits(last)).astype(np.int64)


def _four_digits(text: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The number that four ASCII digits spell, the first in the lowest byte: neighbours become pairs, then one."""
    digits = text & np.uint32(0x0F0F0F0F)
    pairs = ((digits * np.uint32(1 + (10 << 8))) >> np.uint32(8)) & np.uint32(0x00FF00FF)
    return (pairs * np.uint32(1 + (100 << 16))) >> np.uint32(16)


class SensorNumbers:
    """Numbers sensor ids as they appear."""

    def __init__(self, memory_bytes: int) -> None:
        self._limit = memory_bytes // BYTES_PER_SENSOR
        self._numbers: dict[str, int] = {}

    def __call__(self, sensor_ids: pa.StringArray) -> Numbers:
        """The number of each id.

        Raises:
            RefusedError: there are more ids than memory is set aside for.
        """
        encoded = sensor_ids.dictionary_encode()
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in encoded.dictionary.to_pylist()]
        if len(self._numbers) > self._limit:
            raise RefusedError(
                f"has more than {self._limit:,} different sensor ids, which is what duplicate_memory_bytes has room for"
            )
        return np.array(numbers, np.int64)[to_numbers(encoded.indices)]


def row_keys(codes: Numbers, timestamps: Numbers) -> Numbers:
    return (codes << TIMESTAMP_BITS) | timestamps


def replaced(keys: Numbers) -> Mask:
    """Which keys come again later on."""
    return cast("Mask", pd.Series(keys).duplicated(keep="last").to_numpy())


class KeyFile:
    """The keys of all rows so far, on disk."""

    def __init__(self, path: Path, memory_bytes: int) -> None:
        self._path = path
        self._keys_per_pass = memory_bytes // BYTES_PER_KEY
        self._file = path.open("wb")
        self._rows = 0

    def add(self, keys: Numbers) -> None:
        self._file.write(keys.data)
        self._rows += len(keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def replaced_rows(self) -> Iterator[Numbers]:
        """Row numbers, from 0, of the rows that a later row replaces; one array a pass, none empty."""
        self._file.flush()
        passes = -(-self._rows // self._keys_per_pass)
        for share in range(passes):
            keys, rows = self._share(share, passes)
            again = rows[replaced(keys)]
            if len(again):
                yield again

    def _share(self, share: int, shares: int) -> tuple[Numbers, Numbers]:
        """Keys and row numbers of one of `shares` about equal parts; rows with one key are in the same part."""
        parts: list[tuple[Numbers, Numbers]] = []
        with self._path.open("rb") as file:
            for start in range(0, self._rows, _KEYS_READ_AT_ONCE):
                keys = np.fromfile(file, np.int64, _KEYS_READ_AT_ONCE)
                spread = (keys.view(np.uint64) * _SPREAD) >> _HALF  # 32 bits, as good as random
                mine = np.flatnonzero((spread * np.uint64(shares)) >> _HALF == share)
                parts.append((keys[mine], mine + start))
        keys, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
        return keys, rows
