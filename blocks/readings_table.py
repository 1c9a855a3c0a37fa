"""The table that readings are stored in."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, HttpUrl

from blocks.aws_block import DOCUMENTATION_URL, LOGO_URL, AwsBlock
from blocks.aws_clients import renewed_client

if TYPE_CHECKING:
    import pandas as pd


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
        description="Seconds that the table may refuse everything, or not answer, before a load is given up.",
    )
    sender: Literal["fast", "boto3"] = Field(
        default="fast",
        description="How items are sent: over connections of our own, or through boto3, several times slower.",
    )
    connections: int = Field(
        default=128, ge=1, le=1000, description="Calls to the table that one load may have under way at one time."
    )

    def write(self, frames: "Iterable[pd.DataFrame]", on_taken: Callable[[int], object] = lambda _: None) -> int:
        """The number of rows written; every one of them has been acknowledged by DynamoDB.

        Args:
            frames: columns `sensor_id`, `timestamp` (epoch seconds) and `value` (decimal text, stored exactly).
                No two rows may have the same key: BatchWriteItem refuses them, and order between batches is not kept.
            on_taken: called now and then with the number of rows acknowledged so far.

        Raises:
            PermissionMissingError: DynamoDB refused the calls.
            RowRefusedError: DynamoDB refuses a row for what is in it.
            ThrottledError: the table took nothing for `patience_seconds`, its capacity being used up.
            TableUnreachableError: the table took nothing for `patience_seconds` for another reason.
        """
        from blocks.dynamodb.writing import write_frames  # noqa: PLC0415 - pandas and Arrow, which only a write needs

        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            return write_frames(
                frames,
                self._client("dynamodb"),
                lambda: renewed_client(self.credentials, "dynamodb"),
                table_name=self.table_name,
                sender=self.sender,
                patience_seconds=self.patience_seconds,
                connections=self.connections,
                on_taken=on_taken,
            )
