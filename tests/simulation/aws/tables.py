"""Tables of DynamoDB and their indexes, which lag behind."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from tests.simulation.aws.expressions import Item, comparable

Key = tuple[Any, Any]
"""The contents of hash and range key of an item."""


@dataclass
class Index:
    """A global secondary index: it shows a write when its lag has passed, the writes of one item in their order."""

    name: str
    hash_key: str
    range_key: str
    projection: frozenset[str] | None
    """The attributes in it; None for all."""
    partitions: dict[Any, dict[Key, Item]] = field(default_factory=lambda: defaultdict(dict))
    _partition_of: dict[Key, Any] = field(default_factory=dict)
    _pending: list[tuple[float, int, Key, Item | None]] = field(default_factory=list)
    _visible_at: dict[Key, float] = field(default_factory=dict)
    _writes: int = 0

    def write(self, key: Key, item: Item | None, visible_at: float) -> None:
        """Show the item, or its removal, from that time on."""
        visible_at = max(visible_at, self._visible_at.get(key, 0))
        self._visible_at[key] = visible_at
        self._writes += 1
        heappush(self._pending, (visible_at, self._writes, key, item))

    def partition(self, hash_value: Any, now: float) -> Mapping[Key, Item]:  # noqa: ANN401 - text or number
        """The items with that hash key, as the index shows them now."""
        while self._pending and self._pending[0][0] <= now:
            _, _, key, item = heappop(self._pending)
            self._show(key, item)
        return self.partitions.get(hash_value, {})

    def _show(self, key: Key, item: Item | None) -> None:
        if key in self._partition_of:
            del self.partitions[self._partition_of.pop(key)][key]
        if item is not None and self.hash_key in item and self.range_key in item:
            partition = comparable(item[self.hash_key])
            self._partition_of[key] = partition
            kept = self.projection
            shown = item if kept is None else {name: value for name, value in item.items() if name in kept}
            self.partitions[partition][key] = shown


@dataclass
class Table:
    """A table: items by hash and range key, each replaced as a whole and never changed in place."""

    name: str
    hash_key: str
    range_key: str
    indexes: dict[str, Index] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    """The types of the attributes that keys of the table and its indexes are made of."""
    partitions: dict[Any, dict[Any, Item]] = field(default_factory=lambda: defaultdict(dict))
    locks: set[Key] = field(default_factory=set)
    """Keys that a transaction works on."""
    _before: dict[Key, tuple[float, Item | None]] = field(default_factory=dict)
    """What an eventually consistent read may still return, and until when."""

    def key_of(self, item: Mapping[str, Any]) -> Key:
        """The key of an item, or of the key part of a call."""
        return comparable(item[self.hash_key]), comparable(item[self.range_key])

    def get(self, key: Key) -> Item | None:
        """The item as the last write left it."""
        return self.partitions[key[0]].get(key[1])

    def get_before(self, key: Key, now: float) -> Item | None:
        """The item as an eventually consistent read may return it."""
        until, item = self._before.get(key, (0.0, None))
        return item if until > now else self.get(key)

    def partition(self, hash_value: Any, now: float, *, consistent: bool) -> dict[Key, Item]:  # noqa: ANN401 - as above
        """The items with that hash key."""
        found = {(hash_value, each): item for each, item in self.partitions[hash_value].items()}
        if not consistent:
            for key, (until, item) in self._before.items():
                if key[0] == hash_value and until > now:
                    found.pop(key, None)
                    found |= {key: item} if item is not None else {}
        return found

    def write(self, key: Key, item: Item | None, now: float, lags: Iterator[float]) -> None:
        """Replace or remove the item; each index shows it after its lag, and so do eventually consistent reads."""
        partition = self.partitions[key[0]]
        self._before[key] = (now + next(lags), partition.get(key[1]))
        if item is None:
            partition.pop(key[1], None)
        else:
            partition[key[1]] = item
        for index in self.indexes.values():
            index.write(key, item, now + next(lags))

    def items(self) -> Iterator[Item]:
        """All items, for the checks of a test."""
        for partition in self.partitions.values():
            yield from partition.values()
