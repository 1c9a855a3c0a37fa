"""The named steps of the flow. Each is known by the call to AWS that it makes, so nothing in the product is hooked.

In the table of files an item is an entry (one per version), a claim (one per key, its version is `#claim`) or an email
(its version is `#email`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.faults.calls import Call

CLAIM_VERSION: Final = "#claim"
EMAIL_VERSION: Final = "#email"

PUTS: Final = frozenset({"PutItem", "TransactWriteItems"})


@dataclass(frozen=True)
class Step:
    """A step of the flow on one file."""

    name: str
    service: str
    operations: frozenset[str]
    is_it: Callable[[Call], bool] = lambda _: True

    def of(self, *words: str) -> Callable[[Call], bool]:
        """Whether a call is this step on the file: the call says one of the words, such as its key or its sensor."""

        def matches(call: Call) -> bool:
            return (
                call.operation in self.operations
                and call.service == self.service
                and self.is_it(call)
                and any(word in call.text for word in words)
            )

        return matches


def _key_under(prefix: str) -> Callable[[Call], bool]:
    return lambda call: call.key.startswith(prefix)


def _puts(is_it: Callable[[dict[str, Any]], bool]) -> Callable[[Call], bool]:
    return lambda call: any(is_it(item) for item in call.items)


def _is_entry(status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda item: not str(item["version"]).startswith("#") and item.get("status") == status


def _is_free_claim(item: dict[str, Any]) -> bool:
    """Whether it is the claim of a key that no run holds and that needs no load."""
    return item["version"] == CLAIM_VERSION and not item.get("claim_id") and not item.get("waits_for")


def _is_email(state: str, *, is_claimed: bool) -> Callable[[dict[str, Any]], bool]:
    return lambda item: (
        item["version"] == EMAIL_VERSION and item.get("state") == state and bool(item.get("claim_id")) == is_claimed
    )


def _reads_claim_and_entry(call: Call) -> bool:
    """Whether it is the read before a claim; the relay reads claims alone."""
    versions = {str(key["version"]) for key in call.keys_read}
    return CLAIM_VERSION in versions and len(versions) > 1


def _step(name: str, service: str, operation: str, is_it: Callable[[Call], bool] = lambda _: True) -> Step:
    return Step(name, service, frozenset({operation}), is_it)


COLLECT = Step("note: email collects", "dynamodb", PUTS, _puts(_is_email("collecting", is_claimed=True)))
FIND = _step("find the object", "s3", "HeadObject", _key_under("incoming/"))
LOOK_UP = _step("read claim and entry", "dynamodb", "BatchGetItem", _reads_claim_and_entry)
CLAIM = Step("claim", "dynamodb", PUTS, _puts(_is_entry("loading")))
VALIDATE = _step("read and validate", "s3", "GetObject", _key_under("incoming/"))
WRITE = _step("write readings", "dynamodb", "BatchWriteItem")
STORE_REJECTS = _step("store rejects", "s3", "PutObject", _key_under("rejects/"))
LOOK_AT_TARGET = _step("look at the target", "s3", "HeadObject", _key_under("processed/"))
COPY = _step("copy", "s3", "CopyObject", _key_under("processed/"))
SETTLE = Step("settle", "dynamodb", PUTS, _puts(_is_entry("archived")))
DELETE = _step("delete", "s3", "DeleteObject", _key_under("incoming/"))
RELEASE = _step("release", "dynamodb", "PutItem", _puts(_is_free_claim))
SCHEDULE = Step("note: email waits", "dynamodb", PUTS, _puts(_is_email("waiting", is_claimed=False)))
CLAIM_EMAIL = Step("claim the email", "dynamodb", PUTS, _puts(_is_email("waiting", is_claimed=True)))
SEND = _step("send email", "ses", "SendEmail")
NOTE_SENT = Step("note: email sent", "dynamodb", PUTS, _puts(lambda item: item.get("state") == "sent"))

LOAD_STEPS = (
    *(FIND, LOOK_UP, CLAIM, VALIDATE, WRITE, STORE_REJECTS),
    *(LOOK_AT_TARGET, COPY, SETTLE, DELETE, RELEASE),
)
EMAIL_STEPS = (COLLECT, SCHEDULE, CLAIM_EMAIL, SEND, NOTE_SENT)
"""Steps of a whole run: each file that is caught at one of them needs a run of its own."""

ALL_STEPS = (*LOAD_STEPS, *EMAIL_STEPS)

RECEIVE = _step("relay: receive", "sqs", "ReceiveMessage")
REMOVE = _step("relay: remove from queue", "sqs", "DeleteMessageBatch")
RELAY_STEPS = (RECEIVE, REMOVE)
