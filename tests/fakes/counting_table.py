"""A table that only counts: what it takes, what it hands back, and what it has seen of every key."""

import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

ITEMS_PER_BATCH = 25
"""Source: "BatchWriteItem", Amazon DynamoDB API reference."""

Put = dict[str, Any]
"""One `PutRequest` of a BatchWriteItem call, as JSON has it."""


@dataclass
class Behaviour:
    """How the table answers. Everything but `delay_seconds` is off unless it is set."""

    delay_seconds: float = 0.0
    """Time between a request and its answer; requests on other connections do not wait for it."""
    unprocessed_share: float = 0.0
    """Share of each batch, rounded down, that is handed back whatever the load."""
    items_per_second: float | None = None
    """Items taken a second. A request that comes when none is left is refused; one that fits partly is taken partly."""
    burst_seconds: float = 0.1
    """How much of the limit is saved up while nothing comes; a whole batch at least, as a real table's 300 s are."""
    script: list[str] = field(default_factory=list)
    """Answers to the first requests, one each: `reset`, `hang`, `trickle`, `damaged`, `chunked`, a status like `500`,
    `400 CODE`, `raw ` or `end ` and the bytes of a response (the latter closes the connection), or `ok`."""
    refused_value: str | None = None
    """A value that makes the table refuse any batch it is in, as something that it cannot store."""
    key: Sequence[str] = ("sensor_id", "timestamp")
    """The attributes of the key, for the report."""
    keep: bool = True
    """Whether bodies are kept for the check of keys; without, memory stays flat over any number of items."""


class CountingTable:
    """Takes BatchWriteItem bodies by the rules of a `Behaviour`. Time is passed in, so that nothing here waits."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.script = deque(behaviour.script)
        self.requests = self.refused = self.items = self.handed_back = self.connections = 0
        self.items_by_second: Counter[int] = Counter()
        self.last_item_at: float | None = None
        self._kept: list[bytes | list[Put]] = []
        self._credit, self._credited_at = float("inf"), 0.0  # all that can be saved up has been

    def take(self, body: bytes, now: float) -> list[Put] | None:
        """The items handed back; None if the request is refused as a whole because the limit is used up."""
        count = body.count(b'"PutRequest"')
        wanted = count - int(count * self.behaviour.unprocessed_share)
        taken = min(wanted, self._affordable(now))
        if not taken:
            self.refused += 1
            return None
        self._credit -= taken
        self.items += taken
        self.handed_back += count - taken
        self.items_by_second[int(now)] += taken
        self.last_item_at = now
        if taken == count:
            self._keep(body)
            return []
        [puts] = json.loads(body)["RequestItems"].values()
        self._keep(puts[:taken])
        return list(puts[taken:])

    def report(self) -> dict[str, Any]:
        """Counts, and what the kept bodies say about keys: distinct ones, and writes of one key again."""
        last: dict[tuple[str, ...], Any] = {}
        again = overwritten = in_one_batch = 0
        for puts in self._batches():
            items = [put["PutRequest"]["Item"] for put in puts]
            keys = [tuple(value for name in self.behaviour.key for value in item[name].values()) for item in items]
            in_one_batch += len(keys) - len(set(keys))
            for key, item in zip(keys, items, strict=True):
                again += key in last
                overwritten += last.get(key, item) != item
                last[key] = item
        return {
            "requests": self.requests,
            "refused": self.refused,
            "items": self.items,
            "handed_back": self.handed_back,
            "connections": self.connections,
            "last_item_at": self.last_item_at,
            "items_by_second": sorted(self.items_by_second.items()),
            "keys": len(last) if self.behaviour.keep else None,
            "written_again": again,
            "overwritten_with_another_value": overwritten,
            "duplicates_within_a_batch": in_one_batch,
        }

    def contents(self) -> dict[tuple[str, int], str]:
        """The value of each key, as last written."""
        return {
            (item["sensor_id"]["S"], int(item["timestamp"]["N"])): item["value"]["N"]
            for puts in self._batches()
            for item in (put["PutRequest"]["Item"] for put in puts)
        }

    def batches(self) -> list[list[tuple[str, int]]]:
        """The keys of each batch that was taken, in the order of their coming."""
        return [
            [
                (item["sensor_id"]["S"], int(item["timestamp"]["N"]))
                for item in (put["PutRequest"]["Item"] for put in puts)
            ]
            for puts in self._batches()
        ]

    def _batches(self) -> list[list[Put]]:
        return [
            list(*json.loads(kept)["RequestItems"].values()) if isinstance(kept, bytes) else kept for kept in self._kept
        ]

    def _keep(self, puts: bytes | list[Put]) -> None:
        if self.behaviour.keep:
            self._kept.append(puts)

    def _affordable(self, now: float) -> int:
        limit = self.behaviour.items_per_second
        if limit is None:
            return ITEMS_PER_BATCH
        most = max(limit * self.behaviour.burst_seconds, ITEMS_PER_BATCH) if limit else 0.0
        self._credit = min(most, self._credit + (now - self._credited_at) * limit)
        self._credited_at = now
        return max(0, int(self._credit))


def clock() -> float:
    return time.monotonic()
