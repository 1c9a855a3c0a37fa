"""A file's items divided into shards that are written concurrently. All items of a partition are in the same shard."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pyarrow as pa

from flows.rows.arrays import to_integers


@dataclass(frozen=True)
class Shard:
    """Shard `number`, from 1, of `of` shards."""

    number: int
    of: int

    def select(self, batches: Iterable[pa.RecordBatch], field: str) -> Iterator[pa.RecordBatch]:
        """The items whose value of the field is in this shard, in their order. Batches without such items are left out.

        Items have different keys, so any field will do; a partition key spreads the writes best.
        """
        for batch in batches:
            encoded = batch[field].cast(pa.string()).dictionary_encode()
            chosen = np.array([self.contains(value) for value in encoded.dictionary.to_pylist()], np.bool_)
            in_shard = chosen[to_integers(encoded.indices)] if len(batch) else np.zeros(0, np.bool_)
            if in_shard.any():
                yield batch.filter(pa.array(in_shard))

    def contains(self, value: str) -> bool:
        """Whether the value is in this shard.

        By CRC-32, which is the same on every machine; Python's `hash` of a text differs between processes.
        """
        return crc32(value.encode()) % self.of == self.number - 1


def shards(count: int) -> list[Shard]:
    return [Shard(number, count) for number in range(1, count + 1)]
