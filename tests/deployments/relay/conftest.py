"""A queue for each test, a recorder of the announced events, and run slots that the test sets."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from blocks.domain.models import SensorFile
from blocks.file_ledger.due import DueFile
from deployments.relay.relay import Relay
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.timings import Timings
from flows.recovery.due_files import CLAIMED_WITHIN
from tests.support.servers import Aws

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

PREFIX = "incoming/"
MAX_RECEIVES = 3


@dataclass
class Queue:
    """A queue with dead letters. With a visibility timeout of 0, a received message is visible again at once."""

    sqs: "SQSClient"
    url: str
    dead_letters_url: str

    def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type] # plain dicts

    @property
    def visible(self) -> int:
        """The number of messages that can be received now."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return int(answer["ApproximateNumberOfMessages"])

    @property
    def messages(self) -> int:
        return messages_in(self.sqs, self.url)

    @property
    def dead_letters(self) -> list[str]:
        answer = self.sqs.receive_message(QueueUrl=self.dead_letters_url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        return [message["Body"] for message in answer.get("Messages", [])]


def messages_in(sqs: "SQSClient", url: str) -> int:
    """The number of all messages in the queue, including those in flight."""
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(answer["ApproximateNumberOfMessages"]) + int(answer["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture(scope="session")
def sqs(aws: Aws) -> "SQSClient":
    client: SQSClient = aws.client("sqs")
    return client


@pytest.fixture
def queue(sqs: "SQSClient") -> Queue:
    return make_queue(sqs, visibility_seconds=0)


@pytest.fixture
def long_queue(sqs: "SQSClient") -> Queue:
    """A queue that hides received messages, as in production."""
    return make_queue(sqs, visibility_seconds=120)


def make_queue(sqs: "SQSClient", visibility_seconds: int) -> Queue:
    name = f"arrivals-{uuid.uuid4()}"
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
    made = sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": redrive}
    )
    return Queue(sqs, made["QueueUrl"], dead)


@dataclass
class Announced:
    """The keys of the files in each event; `before_acknowledge` is called first."""

    events: list[list[str]] = field(default_factory=list)
    occasions: list[str] = field(default_factory=list)
    before_acknowledge: Callable[[], object] = lambda: None

    def __call__(self, files: Sequence[SensorFile], incoming_prefix: str, occasion: str) -> None:
        assert incoming_prefix == PREFIX
        self.occasions.append(occasion)
        self.before_acknowledge()
        self.events.append([file.key for file in files])


@pytest.fixture
def announced() -> Announced:
    return Announced()


class ServerAwayError(Exception):
    """Raised by an announcement to a Prefect server that cannot be reached."""


def away(*_: object) -> None:
    raise ServerAwayError


@dataclass
class FakeSlots:
    """As many free slots as the test sets; `on_count` is called at each count, with its number."""

    free_now: int = 100
    counts: int = 0
    on_count: Callable[[int], object] = lambda _: None

    def free(self) -> int:
        self.counts += 1
        if self.counts > 1000:
            pytest.fail("endless loop")  # not an Exception, so the relay does not retry
        self.on_count(self.counts)
        return self.free_now

    def take(self) -> bool:
        is_free = self.free() > 0
        self.free_now -= is_free
        return is_free


@pytest.fixture
def slots() -> FakeSlots:
    return FakeSlots()


@dataclass
class FakeLedger:
    """A ledger without a table, which remembers the keys that are expected; the test sets what is due."""

    expected: list[list[str]] = field(default_factory=list)
    """The keys of each call."""
    fails: int = 0
    """Calls that are still to fail."""
    due: list[DueFile] = field(default_factory=list)

    def expect(self, files: Iterable[SensorFile], within: timedelta) -> None:
        assert within == CLAIMED_WITHIN
        if self.fails:
            self.fails -= 1
            raise ConnectionError("DynamoDB is away")
        self.expected.append([file.key for file in files])

    def due_files(self) -> Iterator[DueFile]:
        return iter(self.due)


_NO_WAITS: dict[str, Any] = {
    "second_receive_after_seconds": 0,
    "batch_quiet_seconds": 0,
    "slot_poll_seconds": 0,
    "retry_delays_seconds": (0,),
}

ONE_RECEIVE = Timings(**_NO_WAITS, batch_max_seconds=0)
"""A batch is what one call to SQS returns."""

UNTIL_EMPTY = Timings(**_NO_WAITS, batch_max_seconds=60)
"""A batch is all that the queue has, without a wait."""


@pytest.fixture
def relay(queue: Queue, announced: Announced, slots: FakeSlots) -> Relay:
    return relay_of(queue, announced, slots, ONE_RECEIVE)


@pytest.fixture
def gathering_relay(long_queue: Queue, announced: Announced, slots: FakeSlots) -> Relay:
    return relay_of(long_queue, announced, slots, UNTIL_EMPTY)


def relay_of(queue: Queue, announced: Announced, slots: FakeSlots, timings: Timings) -> Relay:
    ledger: Any = FakeLedger()
    return Relay(SqsQueue(queue.sqs, queue.url), PREFIX, slots, lambda: ledger, announced, timings)


def event(key: str, version: str = "v1", kind: str = "Object Created") -> str:
    """The message of EventBridge about a created object."""
    described = {"key": key, "version-id": version, "size": 8, "etag": "e1"}
    return json.dumps(
        {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": "landing"}, "object": described}}
    )


def events(count: int) -> list[str]:
    return [event(f"incoming/{number}.csv") for number in range(count)]


def unversioned(key: str, sequencer: str) -> str:
    """The message of EventBridge about an object in a bucket without versioning."""
    described = {"key": key, "size": 8, "etag": "e1", "sequencer": sequencer}
    message = {"source": "aws.s3", "detail-type": "Object Created"}
    return json.dumps(message | {"detail": {"bucket": {"name": "landing"}, "object": described}})


def notification(keys: Sequence[str]) -> str:
    """The message that S3 itself sends to a queue."""
    created = "ObjectCreated:Put"
    records = [{"eventName": created, "s3": {"bucket": {"name": "landing"}, "object": {"key": key}}} for key in keys]
    return json.dumps({"Records": records})
