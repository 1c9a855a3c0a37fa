"""The queue that arrivals wait in: taking messages, keeping them out of sight, giving them back, removing them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deployments.relay.stop_signal import StopSignal

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LONG_POLL_SECONDS: Final = 20
"""The longest that SQS waits for a message. Source: "ReceiveMessage", Amazon SQS API reference."""

MESSAGES_PER_CALL: Final = 10
"""Messages that SQS hands over, deletes or changes at once. Source: as above."""

HIDDEN_SECONDS: Final = 120
"""For how long messages in hand are put out of sight anew; the queue itself does the same (stack.yaml)."""

_AGAIN_AFTER_SECONDS: Final = HIDDEN_SECONDS / 4
"""Messages in hand are put out of sight anew when that is so long ago: a few tries may fail before it is too late."""


@dataclass
class ArrivalQueue:
    """An SQS queue, as the relay uses it."""

    sqs: "SQSClient"
    url: str
    now: Callable[[], float] = time.monotonic

    def receive(self, stop: StopSignal, wait_seconds: int) -> list["MessageTypeDef"]:
        """Up to `MESSAGES_PER_CALL` messages, after waiting for the first of them for up to `wait_seconds`.

        Raises:
            StopRequested: a stop was asked for meanwhile.
        """
        with stop.at_once():
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=MESSAGES_PER_CALL,
                WaitTimeSeconds=wait_seconds,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        return answer.get("Messages", [])

    def delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Remove the messages. One that SQS does not remove comes again, as a double."""
        for part in _in_calls(messages):
            self.sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(part)],
            )

    def give_back(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Let others see the messages at once."""
        self._hide(messages, 0)

    def keeper(self, received_at: float) -> "Keeper":
        """Keeps messages that were received then out of others' sight for as long as it is asked to."""
        return Keeper(self, received_at)

    def _hide(self, messages: Sequence["MessageTypeDef"], seconds: int) -> None:
        for part in _in_calls(messages):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": seconds}
                    for n, each in enumerate(part)
                ],
            )

    def backlog(self) -> int:
        """Messages that wait to be received, about as many as SQS counts."""
        name: Final = "ApproximateNumberOfMessages"
        return int(self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])["Attributes"][name])


@dataclass
class Keeper:
    """Messages in hand stay out of others' sight as long as `keep` is called every few seconds."""

    queue: ArrivalQueue
    hidden_at: float

    def keep(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Put the messages out of sight anew, if that is due."""
        now = self.queue.now()
        if now - self.hidden_at >= _AGAIN_AFTER_SECONDS:
            self.queue._hide(messages, HIDDEN_SECONDS)  # noqa: SLF001 - two halves of one thing
            self.hidden_at = now


def _in_calls(messages: Sequence["MessageTypeDef"]) -> Iterator[Sequence["MessageTypeDef"]]:
    return (messages[start : start + MESSAGES_PER_CALL] for start in range(0, len(messages), MESSAGES_PER_CALL))
