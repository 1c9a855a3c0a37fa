"""Putting dead letters back into the queue, where a relay takes them as if they had just arrived."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import boto3

from blocks.stack_outputs import StackOutputs
from deployments.relay.s3_events import UnknownMessageError, arrivals
from deployments.relay.sqs_queue import MESSAGES_PER_CALL, ArrivalQueue
from deployments.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_HIDDEN_SECONDS: Final = 300
"""For how long a message that was looked at stays out of sight, so that the next call brings another."""

_LONG_POLL_SECONDS: Final = 1
"""Any long poll asks all of SQS's servers, so that an empty answer means an empty queue.

Source: "Amazon SQS short and long polling", Amazon SQS developer guide.
"""


@dataclass
class Redriven:
    """What became of the dead letters."""

    moved: int = 0
    left: dict[str, str] = field(default_factory=dict)
    """Why a message stays where it is, by its id."""

    def as_document(self) -> dict[str, Any]:
        return {"moved": self.moved, "left": [{"message_id": each, "why": why} for each, why in self.left.items()]}

    def __str__(self) -> str:
        """The same for people."""
        lines = [f"{self.moved} message(s) put back into the queue"]
        lines += [f"left among the dead letters: {each}: {why}" for each, why in self.left.items()]
        return "\n".join(lines)


def redrive_stack() -> Redriven:
    """What became of the dead letters of the stack that the settings name.

    Raises:
        StackMissingError: there is no such stack where the AWS credentials and region lead.
    """
    outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
    return redrive(boto3.client("sqs"), outputs.dead_letter_queue_url, outputs.queue_url)


def redrive(sqs: "SQSClient", dead_letters_url: str, queue_url: str) -> Redriven:
    """Move what S3 has sent back into the queue, and leave what no relay understands: it would only come back.

    Each message is sent before it is deleted, so none is lost; when this is interrupted, one may be there twice, which
    the relay and the ledger know how to deal with. (SQS's own StartMessageMoveTask moves all, whatever they say.)
    """
    done = Redriven()
    kept: list[MessageTypeDef] = []
    dead_letters = ArrivalQueue(sqs, dead_letters_url)
    try:
        while found := _receive(sqs, dead_letters_url):
            new = [message for message in found if message["MessageId"] not in done.left]
            if not new:  # only those come that were left, and are in sight again
                break
            good = [message for message in new if not _unknown(message, done)]
            kept += [message for message in new if message["MessageId"] in done.left]
            sent = _send(sqs, queue_url, good)
            dead_letters.delete(sent)
            done.moved += len(sent)
            for message in good:
                if message not in sent:
                    done.left[message["MessageId"]] = "SQS did not take it; try again"
                    kept.append(message)
    finally:
        dead_letters.give_back(kept)
    return done


def _receive(sqs: "SQSClient", url: str) -> list["MessageTypeDef"]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=MESSAGES_PER_CALL,
        VisibilityTimeout=_HIDDEN_SECONDS,
        WaitTimeSeconds=_LONG_POLL_SECONDS,
    )
    return answer.get("Messages", [])


def _unknown(message: "MessageTypeDef", done: Redriven) -> bool:
    """Whether no relay would understand the message; why is noted."""
    try:
        arrivals(message["Body"], prefix="")
    except UnknownMessageError as error:
        done.left[message["MessageId"]] = str(error)
        return True
    return False


def _send(sqs: "SQSClient", url: str, messages: list["MessageTypeDef"]) -> list["MessageTypeDef"]:
    """Those of the messages, ten at most, that SQS has taken; what S3 sends is far from too large for one call."""
    if not messages:
        return []
    answer = sqs.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(number), "MessageBody": each["Body"]} for number, each in enumerate(messages)],
    )
    return [messages[int(each["Id"])] for each in answer.get("Successful", [])]
