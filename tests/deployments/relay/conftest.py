"""A queue of each test's own, somebody to announce to who remembers everything, and somebody who knows of free runs."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from blocks.domain.models import SensorFile
from deployments.relay.relay import Pace, Relay
from deployments.relay.sqs_queue import ArrivalQueue
from tests.support.servers import Aws

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

PREFIX = "incoming/"
RECEIVED_AT_MOST = 3


@dataclass
class Queue:
    """A queue with dead letters. What is received and not deleted is there again at once."""

    sqs: "SQSClient"
    url: str
    dead_letters_url: str

    def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type] # plain dicts

    @property
    def visible(self) -> int:
        """Those that anybody could receive now."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return int(answer["ApproximateNumberOfMessages"])

    @property
    def messages(self) -> int:
        """All that are in the queue, those that somebody has received included."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return int(answer["ApproximateNumberOfMessages"]) + int(answer["ApproximateNumberOfMessagesNotVisible"])

    @property
    def dead_letters(self) -> list[str]:
        answer = self.sqs.receive_message(QueueUrl=self.dead_letters_url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        return [message["Body"] for message in answer.get("Messages", [])]


@pytest.fixture(scope="session")
def sqs(aws: Aws) -> "SQSClient":
    client: SQSClient = aws.client("sqs")
    return client


@pytest.fixture
def queue(sqs: "SQSClient") -> Queue:
    return make_queue(sqs, visibility_seconds=0)


@pytest.fixture
def long_queue(sqs: "SQSClient") -> Queue:
    """A queue whose messages stay out of sight once they are received, as in production."""
    return make_queue(sqs, visibility_seconds=120)


def make_queue(sqs: "SQSClient", visibility_seconds: int) -> Queue:
    name = f"arrivals-{uuid.uuid4()}"
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVED_AT_MOST})
    made = sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": redrive}
    )
    return Queue(sqs, made["QueueUrl"], dead)


@dataclass
class Announced:
    """What was announced, event by event; `meanwhile` is done before the server acknowledges."""

    events: list[list[str]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def __call__(self, files: Sequence[SensorFile], incoming_prefix: str) -> None:
        assert incoming_prefix == PREFIX
        self.meanwhile()
        self.events.append([file.key for file in files])


@pytest.fixture
def announced() -> Announced:
    return Announced()


@dataclass
class FreeRuns:
    """Says how many runs may begin, and what it is asked; `meanwhile` is done at each question, with its number."""

    free_now: int = 100
    asked: int = 0
    meanwhile: Callable[[int], object] = lambda _: None

    def free(self) -> int:
        self.asked += 1
        if self.asked > 1000:
            pytest.fail("asked over and over")  # no Exception, so the relay does not take it for Prefect being away
        self.meanwhile(self.asked)
        return self.free_now

    def take(self) -> None:
        self.free_now -= 1


@pytest.fixture
def runs() -> FreeRuns:
    return FreeRuns()


AT_ONCE = Pace(look_again=0, linger=0, longest_linger=0, slot=0, away=(0,))
"""Takes what one call to SQS hands over, and waits for nothing."""

NO_WAITS = Pace(look_again=0, linger=0, longest_linger=60, slot=0, away=(0,))
"""Takes what there is, and waits for nothing."""


@pytest.fixture
def relay(queue: Queue, announced: Announced, runs: FreeRuns) -> Relay:
    return relay_of(queue, announced, runs, AT_ONCE)


@pytest.fixture
def gathering_relay(long_queue: Queue, announced: Announced, runs: FreeRuns) -> Relay:
    return relay_of(long_queue, announced, runs, NO_WAITS)


def relay_of(queue: Queue, announced: Announced, runs: FreeRuns, pace: Pace) -> Relay:
    return Relay(ArrivalQueue(queue.sqs, queue.url), PREFIX, runs, announced, pace)


def event(key: str, version: str = "v1", kind: str = "Object Created") -> str:
    """What EventBridge puts into the queue when an object is created."""
    described = {"key": key, "version-id": version, "size": 8, "etag": "e1"}
    return json.dumps(
        {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": "landing"}, "object": described}}
    )


def unversioned(key: str, sequencer: str) -> str:
    """What EventBridge says of a bucket that keeps no versions."""
    described = {"key": key, "size": 8, "etag": "e1", "sequencer": sequencer}
    message = {"source": "aws.s3", "detail-type": "Object Created"}
    return json.dumps(message | {"detail": {"bucket": {"name": "landing"}, "object": described}})


def notification(keys: Sequence[str]) -> str:
    """What S3 puts into a queue that is wired to it directly."""
    created = "ObjectCreated:Put"
    records = [{"eventName": created, "s3": {"bucket": {"name": "landing"}, "object": {"key": key}}} for key in keys]
    return json.dumps({"Records": records})
