"""A file's rows in parts that can be written side by side: all rows of a sensor are in the same one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Shard:
    """One of `of` parts, counted from 1."""

    number: int
    of: int

    def only(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """The rows whose sensor is in this shard, in their order. No frame is empty."""
        for frame in frames:
            codes, sensors = pd.factorize(frame["sensor_id"])
            mine = np.array([self.has(sensor) for sensor in sensors], np.bool_)[codes]
            if mine.any():
                yield frame[mine]

    def has(self, sensor_id: str) -> bool:
        """Whether the sensor is in this shard, on any machine: Python's own hash of a text differs in each process."""
        return crc32(sensor_id.encode()) % self.of == self.number - 1


def shards(count: int) -> list[Shard]:
    return [Shard(number, count) for number in range(1, count + 1)]
