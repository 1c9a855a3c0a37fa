"""What can go wrong between a load and its table, once trying again has not helped or cannot help."""

from blocks.domain.errors import SensorIngestError


class RowRefusedError(SensorIngestError):
    """DynamoDB refuses one row for what is in it; it would refuse it again."""

    blames_file = True

    def __init__(self, table: str, sensor_id: str, timestamp: str, value: str, reason: str) -> None:
        super().__init__(
            f"Table {table} refused the row {sensor_id},{timestamp},{value}: {reason.rstrip('.')}. "
            "Rows before and after it may be in the table; the load can be repeated once the row is right."
        )


class TableUnreachableError(SensorIngestError):
    """DynamoDB kept failing to answer, or to answer usefully, until the time limit."""

    def __init__(self, table: str, reason: str, waited_seconds: float) -> None:
        super().__init__(
            f"Table {table} has taken nothing for {waited_seconds:.0f} s, the last time because: {reason.rstrip('.')}. "
            "Are endpoint, proxy and credentials of the block the right ones? The run can be started again."
        )


class NoAnswerError(Exception):
    """One call got no answer: a connection that was refused or reset, or a timeout. It never leaves this package."""
