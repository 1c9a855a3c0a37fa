"""What CloudWatch says about an SQS queue: the last values of one of its metrics."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

_OLDEST_AGE: Final = "ApproximateAgeOfOldestMessage"
EMPTY_RECEIVES: Final = "NumberOfEmptyReceives"
"""Calls of ReceiveMessage that returned no message: a relay without work makes three a minute."""
RECEIVED: Final = "NumberOfMessagesReceived"

_WINDOW: Final = timedelta(minutes=15)
_PERIOD_SECONDS: Final = 60
"""SQS sends its metrics each minute. Source: "Available CloudWatch metrics for Amazon SQS", SQS developer guide."""


class Datapoint(NamedTuple):
    """The value of a metric in the minute that began at that time."""

    at: datetime
    value: float


def datapoints(
    cloudwatch: Any,  # noqa: ANN401 - its stubs are not installed
    queue_arn: str,
    metric: str,
    statistic: Literal["Maximum", "Sum"] = "Maximum",
) -> list[Datapoint]:
    """The values of the last 15 minutes, the newest first; the newest is a minute or two old."""
    now = datetime.now(UTC)
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName=metric,
        Dimensions=[{"Name": "QueueName", "Value": queue_arn.rpartition(":")[2]}],
        StartTime=now - _WINDOW,
        EndTime=now,
        Period=_PERIOD_SECONDS,
        Statistics=[statistic],
    )["Datapoints"]
    return sorted((Datapoint(each["Timestamp"], each[statistic]) for each in points), reverse=True)


def oldest_age_seconds(cloudwatch: Any, queue_arn: str) -> float | None:  # noqa: ANN401 - as above
    """Age of the oldest message in seconds, a minute late: SQS has no such attribute.

    None if it is not known, as in the first minute of a queue, or if CloudWatch cannot be asked.
    """
    try:
        newest = next(iter(datapoints(cloudwatch, queue_arn, _OLDEST_AGE)), None)
    except (BotoCoreError, ClientError):
        return None
    return newest.value if newest else None
