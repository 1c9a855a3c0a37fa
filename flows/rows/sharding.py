"""A file's rows divided into shards that are written concurrently. All rows of a sensor are in the same shard."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Shard:
    """Shard `number`, from 1, of `of` shards."""

    number: int
    of: int

    def select(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """The rows of the sensors of this shard, in their order. Frames without such rows are left out."""
        for frame in frames:
            codes, sensors = pd.factorize(frame["sensor_id"])
            in_shard = np.array([self.contains(sensor) for sensor in sensors], np.bool_)[codes]
            if in_shard.any():
                yield frame[in_shard]

    def contains(self, sensor_id: str) -> bool:
        """Whether the sensor is in this shard.

        By CRC-32, which is the same on every machine; Python's `hash` of a text differs between processes.
        """
        return crc32(sensor_id.encode()) % self.of == self.number - 1


def shards(count: int) -> list[Shard]:
    return [Shard(number, count) for number in range(1, count + 1)]
