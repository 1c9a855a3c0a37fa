"""The SQS queue: receive messages, extend their visibility timeout, release or delete them, read the backlog."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.config import Config

from deployments.relay.stop_signal import StopSignal

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LONG_POLL_SECONDS: Final = 20
"""The longest long poll. Source: "ReceiveMessage", Amazon SQS API reference."""

MESSAGES_PER_CALL: Final = 10
"""The most messages that one call receives, deletes or changes. Source: as above."""

VISIBILITY_TIMEOUT_SECONDS: Final = 60
"""For how long no other consumer receives a message. The queue has the same value as its default (stack.yaml)."""

_EXTEND_AFTER_SECONDS: Final = VISIBILITY_TIMEOUT_SECONDS / 4
"""A quarter of the timeout, so that some extensions may fail before a message becomes visible."""

FAIL_FAST: Final = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1, "mode": "standard"})
"""For the client that reads the backlog: a scrape must end within 10 s, while boto3 retries for minutes by default.

Source: `scrape_timeout`, configuration of Prometheus.
"""


@dataclass
class SqsQueue:
    """The calls that the relay makes to one SQS queue."""

    sqs: "SQSClient"
    url: str
    now: Callable[[], float] = time.monotonic
    backlog_client: "SQSClient | None" = None
    """Reads the backlog, if given."""

    def receive(self, stop: StopSignal, wait_seconds: int) -> list["MessageTypeDef"]:
        """Up to `MESSAGES_PER_CALL` messages, after a wait for the first of them of up to `wait_seconds`.

        Raises:
            StopRequested: a stop was requested before the answer.
        """
        with stop.interruptible():
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=MESSAGES_PER_CALL,
                WaitTimeSeconds=wait_seconds,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        return answer.get("Messages", [])

    def delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Delete the messages. One that SQS does not delete is received again, as a duplicate."""
        for part in _parts(messages):
            self.sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(part)],
            )

    def release(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Make the messages visible to all consumers at once."""
        self.set_visibility_timeout(messages, 0)

    def set_visibility_timeout(self, messages: Sequence["MessageTypeDef"], seconds: int) -> None:
        """Hide the messages from other consumers for this long, from now on."""
        for part in _parts(messages):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": seconds}
                    for n, each in enumerate(part)
                ],
            )

    def backlog(self) -> int:
        """The number of messages that wait to be received; SQS gives an approximation."""
        name: Final = "ApproximateNumberOfMessages"
        client = self.backlog_client or self.sqs
        return int(client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])["Attributes"][name])


class VisibilityExtender:
    """Keeps received messages hidden from other consumers, as long as `extend` is called every few seconds."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue
        self._extended_at = queue.now()

    def extend(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Restart the visibility timeout of the messages, if a quarter of it has passed."""
        now = self._queue.now()
        if now - self._extended_at >= _EXTEND_AFTER_SECONDS:
            self._queue.set_visibility_timeout(messages, VISIBILITY_TIMEOUT_SECONDS)
            self._extended_at = now


def _parts(messages: Sequence["MessageTypeDef"]) -> Iterator[Sequence["MessageTypeDef"]]:
    return (messages[start : start + MESSAGES_PER_CALL] for start in range(0, len(messages), MESSAGES_PER_CALL))
