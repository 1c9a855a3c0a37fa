"""Moves dead letters back into the queue, where a relay receives them like new messages."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import boto3

from blocks.stack_outputs import current_stack_outputs
from deployments.relay.s3_events import UnknownMessageError, announced_files
from deployments.relay.sqs_queue import MESSAGES_PER_CALL, SqsQueue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_HIDDEN_SECONDS: Final = 300
"""Visibility timeout of the dead letters that were examined, so that the next call receives others."""

_LONG_POLL_SECONDS: Final = 1
"""A long poll of any length asks all servers of SQS, so an empty answer means an empty queue.

Source: "Amazon SQS short and long polling", Amazon SQS developer guide.
"""


@dataclass
class RedriveResult:
    """The number of dead letters moved, and those that stay."""

    moved: int = 0
    left: dict[str, str] = field(default_factory=dict)
    """Message id and reason of each message that stays."""

    def as_document(self) -> dict[str, Any]:
        return {"moved": self.moved, "left": [{"message_id": each, "why": why} for each, why in self.left.items()]}

    def __str__(self) -> str:
        lines = [f"{self.moved} message(s) moved back into the queue"]
        lines += [f"left among the dead letters: {each}: {why}" for each, why in self.left.items()]
        return "\n".join(lines)


def redrive_stack() -> RedriveResult:
    """The result of a redrive of the dead letters of the stack that the settings name.

    Raises:
        StackMissingError: the account and region of the AWS credentials have no such stack.
    """
    outputs = current_stack_outputs()
    return redrive(boto3.client("sqs"), outputs.dead_letter_queue_url, outputs.queue_url)


def redrive(sqs: "SQSClient", dead_letters_url: str, queue_url: str) -> RedriveResult:
    """The result, after each message of S3 was moved into the queue; any other would only become a dead letter again.

    Each message is sent before it is deleted, so none is lost. After an interruption one may be in both queues; the
    relay and the ledger detect the duplicate. SQS's own StartMessageMoveTask moves all messages, whatever their format.
    """
    result = RedriveResult()
    hidden: list[MessageTypeDef] = []
    dead_letters = SqsQueue(sqs, dead_letters_url)
    try:
        while found := _receive(sqs, dead_letters_url):
            new = [message for message in found if message["MessageId"] not in result.left]
            if not new:  # the messages that stay have become visible again, so all have been examined
                break
            hidden += new
            known = [message for message in new if _is_known(message, result)]
            sent = _send(sqs, queue_url, known)
            dead_letters.delete(sent)
            hidden = [message for message in hidden if message not in sent]
            result.moved += len(sent)
            refused = [message["MessageId"] for message in known if message not in sent]
            result.left |= dict.fromkeys(refused, "SQS did not accept it; try again")
    finally:
        dead_letters.release(hidden)
    return result


def _receive(sqs: "SQSClient", url: str) -> list["MessageTypeDef"]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=MESSAGES_PER_CALL,
        VisibilityTimeout=_HIDDEN_SECONDS,
        WaitTimeSeconds=_LONG_POLL_SECONDS,
    )
    return answer.get("Messages", [])


def _is_known(message: "MessageTypeDef", result: RedriveResult) -> bool:
    """Whether the message has a format of S3; if not, the result says why the message stays."""
    try:
        announced_files(message["Body"], prefix="")
    except UnknownMessageError as error:
        result.left[message["MessageId"]] = str(error)
        return False
    return True


def _send(sqs: "SQSClient", url: str, messages: list["MessageTypeDef"]) -> list["MessageTypeDef"]:
    """Those of the messages, ten at most, that SQS accepted. Ten messages of S3 are far below the limit of one call."""
    if not messages:
        return []
    answer = sqs.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(number), "MessageBody": each["Body"]} for number, each in enumerate(messages)],
    )
    return [messages[int(each["Id"])] for each in answer.get("Successful", [])]
