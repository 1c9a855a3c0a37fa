"""The errors of a load that retries cannot solve."""

from blocks.domain.errors import SensorIngestError


class RowRefusedError(SensorIngestError):
    """DynamoDB refuses the content of one row; it would refuse it again."""

    blames_file = True

    def __init__(self, table: str, row: str, reason: str) -> None:
        super().__init__(
            f"Table {table} refused the row {row}: {reason.rstrip('.')}. "
            "Rows before and after it may be in the table; the load can be repeated once the row is right."
        )


class TableUnreachableError(SensorIngestError):
    """DynamoDB acknowledged nothing until the time limit, for another reason than throttling."""

    def __init__(self, table: str, reason: str, waited_seconds: float) -> None:
        super().__init__(
            f"Table {table} has acknowledged nothing for {waited_seconds:.0f} s, because of: {reason.rstrip('.')}. "
            "Are endpoint, proxy and credentials of the block the right ones? The run can be started again."
        )


class NoResponseError(Exception):
    """A call got no response: a refused or reset connection, or a timeout. It is raised only within this package."""
