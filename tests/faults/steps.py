"""The named steps of the flow. Each is known by the call to AWS that it makes, so nothing in the product is hooked."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.calls import Call


@dataclass(frozen=True)
class Step:
    """A step of the flow on one file."""

    name: str
    service: str
    operation: str
    is_it: Callable[[Call], bool] = lambda _: True

    def of(self, *words: str) -> Callable[[Call], bool]:
        """Whether a call is this step on the file: the call says one of the words, such as its key or its sensor."""

        def matches(call: Call) -> bool:
            return (
                call.operation == self.operation
                and call.service == self.service
                and self.is_it(call)
                and any(word in call.text for word in words)
            )

        return matches


def _records(status: str) -> Callable[[Call], bool]:
    return lambda call: call.parameters.get("Item", {}).get("status", {}).get("S") == status


def _key_under(prefix: str) -> Callable[[Call], bool]:
    return lambda call: call.key.startswith(prefix)


def _changes(attribute: str) -> Callable[[Call], bool]:
    return lambda call: f"{attribute} = :" in call.parameters.get("UpdateExpression", "")


FIND = Step("find the object", "s3", "HeadObject", _key_under("incoming/"))
CLAIM = Step("claim", "dynamodb", "PutItem", _records("loading"))
VALIDATE = Step("read and validate", "s3", "GetObject", _key_under("incoming/"))
WRITE = Step("write readings", "dynamodb", "BatchWriteItem")
STORE_REJECTS = Step("store rejects", "s3", "PutObject", _key_under("rejects/"))
NOTE_LOADED = Step("note: loaded", "dynamodb", "PutItem", _records("loaded"))
COPY = Step("copy", "s3", "CopyObject", _key_under("processed/"))
NOTE_ARCHIVED = Step("note: archived", "dynamodb", "PutItem", _records("archived"))
DELETE = Step("delete", "s3", "DeleteObject", _key_under("incoming/"))
SEND = Step("send email", "ses", "SendEmail")
NOTE_TOLD = Step("note: told", "dynamodb", "UpdateItem", _changes("notified_at"))

ALL_STEPS = (FIND, CLAIM, VALIDATE, WRITE, STORE_REJECTS, NOTE_LOADED, COPY, NOTE_ARCHIVED, DELETE, SEND, NOTE_TOLD)

RECEIVE = Step("relay: receive", "sqs", "ReceiveMessage")
REMOVE = Step("relay: remove from queue", "sqs", "DeleteMessageBatch")
RELAY_STEPS = (RECEIVE, REMOVE)
