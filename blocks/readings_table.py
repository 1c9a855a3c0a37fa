"""The table that readings are stored in."""

import random
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botocore.exceptions import ClientError
from pydantic import Field, HttpUrl

from blocks.aws import DOCUMENTATION_URL, LOGO_URL, AwsBlock
from flows.errors import ThrottledError

if TYPE_CHECKING:
    import pandas as pd

ITEMS_PER_BATCH: Final = 25
"""Source: "BatchWriteItem", Amazon DynamoDB API reference."""

_THROTTLED: Final = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0

Item = dict[str, dict[str, str]]


class ReadingsTable(AwsBlock):
    """The DynamoDB table of readings: `sensor_id` (S, hash), `timestamp` (N, range, epoch seconds), `value` (N).

    Example:
        Store readings, each key once:
        ```python
        from blocks.readings_table import ReadingsTable

        readings_table = ReadingsTable.load("BLOCK_NAME")
        readings_table.write([frame])
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor readings table"
    _block_type_slug: ClassVar[str] = "sensor-readings-table"
    _description: ClassVar[str] = "The DynamoDB table that sensor readings are stored in."
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION_URL
    _logo_url: ClassVar[HttpUrl | None] = LOGO_URL

    table_name: str = Field(min_length=3, max_length=255, description="Name of the DynamoDB table.")
    patience_seconds: float = Field(
        default=300,
        gt=0,
        description="Seconds that one batch is retried for while the table returns items unprocessed.",
    )

    def write(self, frames: "Iterable[pd.DataFrame]") -> int:
        """The number of rows written; every one of them has been acknowledged by DynamoDB.

        Args:
            frames: columns `sensor_id`, `timestamp` (epoch seconds) and `value` (decimal text, stored exactly).
                No two rows may have the same key: BatchWriteItem refuses them, and order between batches is not kept.

        Raises:
            PermissionMissingError: DynamoDB refused the call.
            ThrottledError: items were still returned unprocessed after `patience_seconds`.
        """
        written = 0
        for batch in _batches(frames):
            self._write_batch(batch)
            written += len(batch)
        return written

    def _write_batch(self, items: list[Item]) -> None:
        started = time.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        while items := self._unprocessed(items):
            waited = time.monotonic() - started
            if waited > self.patience_seconds:
                raise ThrottledError(self.table_name, len(items), waited)
            # Full jitter: clients that were throttled together do not come back together.
            # Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
            time.sleep(random.uniform(0, pause))  # noqa: S311 - no secret depends on it
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _unprocessed(self, items: list[Item]) -> list[Item]:
        """The items that DynamoDB did not take in one call."""
        requests: Any = [{"PutRequest": {"Item": item}} for item in items]
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            try:
                answer = self._client("dynamodb").batch_write_item(RequestItems={self.table_name: requests})
            except ClientError as error:
                if error.response["Error"]["Code"] not in _THROTTLED:
                    raise
                return items
        left: Any = answer.get("UnprocessedItems", {}).get(self.table_name, [])
        return [request["PutRequest"]["Item"] for request in left]


def _batches(frames: "Iterable[pd.DataFrame]") -> Iterator[list[Item]]:
    """Full batches across the borders of frames; the last one may be smaller."""
    batch: list[Item] = []
    for frame in frames:
        for sensor_id, timestamp, value in zip(frame["sensor_id"], frame["timestamp"], frame["value"], strict=True):
            batch.append({"sensor_id": {"S": sensor_id}, "timestamp": {"N": str(timestamp)}, "value": {"N": value}})
            if len(batch) == ITEMS_PER_BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
