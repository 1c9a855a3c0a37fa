"""The table that readings are stored in."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from blocks.aws_block import AwsBlock
from blocks.aws_clients import renewed_client

if TYPE_CHECKING:
    import pyarrow as pa


class ReadingsTable(AwsBlock):
    """The DynamoDB table of readings, and how rows are written; a feed may name another table for its rows.

    Example:
        Store readings, each key once:
        ```python
        from blocks.readings_table import ReadingsTable

        readings_table = ReadingsTable.load("BLOCK_NAME")
        readings_table.write([batch])
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor readings table"
    _block_type_slug: ClassVar[str] = "sensor-readings-table"
    _description: ClassVar[str] = "The DynamoDB table that sensor readings are stored in."

    table_name: str = Field(min_length=3, max_length=255, description="Name of the DynamoDB table.")
    patience_seconds: float = Field(
        default=300,
        gt=0,
        description="Seconds without an acknowledged item after which a load fails.",
    )
    sender: Literal["fast", "boto3"] = Field(
        default="fast",
        description="fast: over aiohttp. boto3: several times slower, for networks that only boto3 crosses.",
    )
    connections: int = Field(default=128, ge=1, le=1000, description="Concurrent calls of one load to the table.")
    show_rows: bool = Field(
        default=True,
        description="Whether text of rejected rows is in reports, and so in events, parameters of runs, the page of a "
        "run, emails and errors. The CSV of rejects in the bucket has it always.",
    )

    def write(
        self,
        batches: "Iterable[pa.RecordBatch]",
        on_progress: Callable[[int], object] = lambda _: None,
        *,
        fence: Callable[[], object] = lambda: None,
        on_unanswered: Callable[[], object] = lambda: None,
    ) -> int:
        """The number of rows written; DynamoDB has acknowledged all of them.

        Args:
            batches: a column for each attribute, see `blocks.dynamodb.attributes`; a null is no attribute.
                No two rows may have the same key: BatchWriteItem refuses that, and batches are sent in any order.
            on_progress: called from time to time with the number of rows acknowledged so far.
            fence: called directly before each request with rows, in any thread; what it raises ends the load at once.
            on_unanswered: called, in any thread, when a request got no answer that says what became of it, also
                because the load has ended: its rows may be written later.

        Raises:
            PermissionMissingError: DynamoDB refused the calls.
            RowRefusedError: DynamoDB refuses the content of a row.
            ThrottledError: no item was acknowledged for `patience_seconds`, because the table throttles.
            TableUnreachableError: no item was acknowledged for `patience_seconds`, for another reason.
        """
        from blocks.dynamodb.writing import write_batches  # noqa: PLC0415 - Arrow, which only a write needs

        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            return write_batches(
                batches,
                self._client("dynamodb"),
                lambda: renewed_client(self.credentials, "dynamodb"),
                table_name=self.table_name,
                sender=self.sender,
                patience_seconds=self.patience_seconds,
                connections=self.connections,
                on_progress=on_progress,
                fence=fence,
                on_unanswered=on_unanswered,
                show_rows=self.show_rows,
            )
