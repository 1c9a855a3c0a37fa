"""The relay: what S3 has put into the queue becomes one Prefect event, and only then leaves the queue."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import boto3
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from blocks.stack_outputs import StackOutputs
from deployments.arrivals import UnknownMessageError, arrivals
from deployments.settings import Settings
from deployments.stopping import StopRequested, StopSignal
from flows.announcing import announce
from flows.errors import ApiMissingError
from flows.limits import FILES_PER_EVENT, in_groups
from flows.models import SensorFile

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LONG_POLL_SECONDS: Final = 20
"""The longest that SQS waits for a message. Source: "ReceiveMessage", Amazon SQS API reference."""

MESSAGES_PER_CALL: Final = 10
"""Messages that SQS hands over or deletes at once. Source: as above."""

CALLS_PER_BATCH: Final = FILES_PER_EVENT // MESSAGES_PER_CALL
"""Calls after which what has arrived is announced though there is more: messages stay out of sight only for a while."""

AWAY_SECONDS: Final = (1.0, 2.0, 5.0, 15.0)
"""Pauses while SQS or Prefect can not be reached; the last one again and again."""

log = logging.getLogger("relay")


@dataclass
class Batch:
    """Messages that were received together, and the files that they announce, each version once."""

    messages: list["MessageTypeDef"] = field(default_factory=list)
    files: dict[tuple[str, str, str | None], SensorFile] = field(default_factory=dict)

    def add(self, message: "MessageTypeDef", files: Sequence[SensorFile]) -> None:
        self.messages.append(message)
        self.files.update({(file.bucket, file.key, file.version): file for file in files})


@dataclass(frozen=True)
class Relay:
    """Carries announcements of files from an SQS queue to a Prefect server."""

    sqs: "SQSClient"
    queue_url: str
    incoming_prefix: str
    announce: Callable[[Sequence[SensorFile], str], object] = announce
    """Returns once the server has acknowledged what it was given, the files and the prefix they are under."""
    reach_prefect: Callable[[], object] = lambda: None
    """Raises while the Prefect server can not be reached."""
    away_seconds: Sequence[float] = AWAY_SECONDS

    @classmethod
    def of_stack(cls) -> Self:
        """A relay for the queue of the CloudFormation stack that the settings name.

        Raises:
            ApiMissingError: no Prefect server is named, and a temporary one would swallow what is announced to it.
            StackMissingError: there is no such stack where the AWS credentials and region lead.
        """
        if get_current_settings().api.url is None:
            raise ApiMissingError
        outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
        return cls(boto3.client("sqs"), outputs.queue_url, outputs.incoming_prefix, reach_prefect=_reach_prefect)

    def run(self, stop: StopSignal) -> None:
        """Returns when a stop is asked for. What is in hand by then is announced, or left to the queue."""
        failures = 0
        while not stop.requested:
            try:
                self.relay_once(stop)
                failures = 0
            except StopRequested:
                return
            except Exception as error:  # noqa: BLE001 - SQS and Prefect fail in many ways; the queue keeps the messages
                pause = self.away_seconds[min(failures, len(self.away_seconds) - 1)]
                failures += 1
                log.warning("not relayed, the queue keeps it; trying again in %g s: %s", pause, error)
                stop.wait(pause)

    def relay_once(self, stop: StopSignal, wait_seconds: int = LONG_POLL_SECONDS) -> int:
        """The number of files announced, after waiting for the first of them up to `wait_seconds`."""
        # Taken and not announced too often, a message ends among the dead letters. So nothing is taken in vain.
        self.reach_prefect()
        batch = self._gather(stop, wait_seconds)
        for files in in_groups(batch.files.values()):
            self.announce(files, self.incoming_prefix)
            log.info("announced %d file(s): %s", len(files), ", ".join(file.uri for file in files[:3]))
        self._delete(batch.messages)
        return len(batch.files)

    def _gather(self, stop: StopSignal, wait_seconds: int) -> Batch:
        """What has arrived: one file alone goes at once, those that come together go together."""
        batch = Batch()
        for _ in range(CALLS_PER_BATCH):
            messages = self._receive(stop, wait_seconds)
            for message in messages:
                self._sort(message, batch)
            if len(messages) < MESSAGES_PER_CALL:
                break
            wait_seconds = 0
        return batch

    def _sort(self, message: "MessageTypeDef", batch: Batch) -> None:
        try:
            batch.add(message, arrivals(message["Body"], prefix=self.incoming_prefix))
        except UnknownMessageError as error:
            log.warning("left to the dead letters: %s", error)

    def _receive(self, stop: StopSignal, wait_seconds: int) -> list["MessageTypeDef"]:
        with stop.at_once():
            answer = self.sqs.receive_message(
                QueueUrl=self.queue_url, MaxNumberOfMessages=MESSAGES_PER_CALL, WaitTimeSeconds=wait_seconds
            )
        return answer.get("Messages", [])

    def _delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        for start in range(0, len(messages), MESSAGES_PER_CALL):
            part = messages[start : start + MESSAGES_PER_CALL]
            self.sqs.delete_message_batch(
                QueueUrl=self.queue_url,
                Entries=[{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(part)],
            )


def _reach_prefect() -> None:
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error:
        raise error
