"""What AWS says: the queue and its dead letters, the files under the incoming prefix, whether a relay receives."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.request import ProxyHandler, build_opener

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from blocks.domain.s3_keys import is_file, s3_uri
from blocks.stack_outputs import StackOutputs, StackSettings
from deployments.aws.queue_metrics import EMPTY_RECEIVES, RECEIVED, datapoints, oldest_age_seconds
from deployments.commands.status.ledger import READ, LedgerReader
from deployments.commands.status.seen import UNANNOUNCED_TOO_LONG, Count, Incoming, IncomingFile, Queue, Relay
from deployments.embedded import StackDescription, running_stack
from deployments.relay.sqs_queue import FAIL_FAST
from flows.report.wording import count_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef
    from mypy_boto3_sqs import SQSClient

FILES_READ: Final = 1000
"""Keys of one answer of ListObjectsV2. Source: Amazon S3 API reference."""

HEARD_WITHIN: Final = timedelta(minutes=5)
"""A relay asks for messages three times a minute; what CloudWatch says of that comes two minutes late, rarely more."""

_PATIENCE: Final = FAIL_FAST.merge(Config(read_timeout=10))
"""An emulator reads the whole table for each query: with a million entries that takes seconds."""

_TIMEOUT_SECONDS: Final = 2
_API_DESTINATION: Final = ":api-destination/"


class AwsParts:
    """Asks AWS with the credentials of this process, as `deploy` and the relay do; no call is repeated."""

    def __init__(self) -> None:
        self.session = boto3.Session()
        self.stack = StackSettings().stack
        self._clients: dict[str, Any] = {}
        self._outputs: StackOutputs | None = None

    def prepare(self) -> StackOutputs:
        """The outputs of the stack, read once. The clients that threads use are made, as a session is not thread-safe.

        Raises:
            StackMissingError: the stack does not exist, or another template created it.
        """
        if self._outputs is None:
            for service in ("sqs", "s3", "dynamodb"):
                self.client(service)
            self._outputs = StackOutputs.read(self.stack, self.client("cloudformation"))
        return self._outputs

    def client(self, service: Any) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=_PATIENCE)
        return self._clients[service]

    @property
    def dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self.client("dynamodb")
        return client

    def queue(self, outputs: StackOutputs) -> tuple[Queue, str]:
        """The queue, and its ARN."""
        sqs = self._sqs
        attributes = sqs.get_queue_attributes(QueueUrl=outputs.queue_url, AttributeNames=["All"])["Attributes"]
        dead = sqs.get_queue_attributes(QueueUrl=outputs.dead_letter_queue_url, AttributeNames=["All"])["Attributes"]
        waiting = int(attributes["ApproximateNumberOfMessages"])
        arn = attributes["QueueArn"]
        seen = Queue(
            waiting,
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            self._oldest_age_seconds(arn) if waiting else None,
            int(dead["ApproximateNumberOfMessages"]),
        )
        return seen, arn

    def incoming(self, outputs: StackOutputs) -> Incoming:
        """The files under the incoming prefix, of which one page is read: S3 lists by key, not by age.

        The ledger is asked whether it knows the files that are older than a few minutes.
        """
        page = self._s3.list_objects_v2(Bucket=outputs.bucket_name, Prefix=outputs.incoming_prefix, MaxKeys=FILES_READ)
        files = [each for each in page.get("Contents", []) if is_file(each["Key"])]
        by_age = sorted(files, key=lambda each: each["LastModified"])
        before = datetime.now(UTC) - UNANNOUNCED_TOO_LONG
        # The latest first: files that failed for good stay, and are in the end the oldest.
        asked = [each for each in reversed(by_age) if each["LastModified"] < before][:READ]
        names = {f"{outputs.bucket_name}/{each['Key']}": each for each in asked}
        etags = [(name, each["ETag"].strip('"')) for name, each in names.items()]
        unknown = LedgerReader(self.dynamodb, outputs.files_table_name).unknown(etags)
        # One may have been loaded, and have left, between the list and the look at the ledger.
        lost = next((name for name in unknown if self._is_there(outputs.bucket_name, names[name]["Key"])), None)

        def seen(found: "ObjectTypeDef | None") -> IncomingFile | None:
            return IncomingFile(s3_uri(outputs.bucket_name, found["Key"]), found["LastModified"]) if found else None

        return Incoming(
            Count(len(files), page.get("IsTruncated", False)),
            seen(by_age[0] if by_age else None),
            seen(names[lost] if lost else None),
        )

    def _is_there(self, bucket: str, key: str) -> bool:
        found = self._s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        return [key] == [each["Key"] for each in found]

    def relay(self, queue: Callable[[], tuple[Queue, str]]) -> Relay:
        """Whether a relay was heard: its process here, its metrics here, or its calls, which SQS counts."""
        return _process_here() or _metrics_here() or self._calls(*queue())

    def _calls(self, queue: Queue, queue_arn: str) -> Relay:
        if queue.in_flight:
            return Relay(alive=True, sign=f"{count_text(queue.in_flight, 'message')} in flight")
        heard_at = self._received_at(queue_arn)
        now = datetime.now(UTC)
        if heard_at and now - heard_at < HEARD_WITHIN:
            return Relay(alive=True, sign=f"it asked the queue {(now - heard_at).total_seconds():.0f} s ago")
        if self._sends_to_webhook():
            return Relay(alive=True, sign="none is needed: the rule sends to an API destination")
        minutes = HEARD_WITHIN // timedelta(minutes=1)
        return Relay(alive=False, sign=f"SQS counted no receive in the last {minutes} min", by_calls=True)

    def _received_at(self, queue_arn: str) -> datetime | None:
        """The start of the last minute in which the queue was asked for messages."""
        calls = [
            each.at
            for metric in (EMPTY_RECEIVES, RECEIVED)
            for each in datapoints(self.client("cloudwatch"), queue_arn, metric, "Sum")
            if each.value
        ]
        return max(calls, default=None)

    def _oldest_age_seconds(self, queue_arn: str) -> float | None:
        return relay_series().get("oldest_age_seconds") or oldest_age_seconds(self.client("cloudwatch"), queue_arn)

    def _sends_to_webhook(self) -> bool:
        with suppress(BotoCoreError, ClientError):  # who may not ask is the person who reads that no relay was heard
            resource = self.client("cloudformation").describe_stack_resource(
                StackName=self.stack, LogicalResourceId="FileArrived"
            )
            rule = resource["StackResourceDetail"]["PhysicalResourceId"]
            targets = self.client("events").list_targets_by_rule(Rule=rule)["Targets"]
            return any(_API_DESTINATION in each["Arn"] for each in targets)
        return False

    @property
    def _sqs(self) -> "SQSClient":
        client: SQSClient = self.client("sqs")
        return client

    @property
    def _s3(self) -> "S3Client":
        client: S3Client = self.client("s3")
        return client


def embedded_stack() -> StackDescription | None:
    """The embedded stack that runs here, if the environment names it and no other server."""
    home = os.environ.get("PREFECT_HOME")
    stack = running_stack(Path(home).parent) if home else None
    ours = stack and stack.prefect_api_url == os.environ.get("PREFECT_API_URL")
    return stack if ours else None


def _process_here() -> Relay | None:
    stack = embedded_stack()
    if stack is None or "relay" not in stack.parts:
        return None
    from deployments.embedded.processes import find_process

    process = find_process(stack.parts["relay"])
    if process is None:
        return Relay(alive=False, sign="that of the embedded stack does not run")
    return Relay(alive=True, sign=f"process {process.pid} of the embedded stack")


def _metrics_here() -> Relay | None:
    return Relay(alive=True, sign="its metrics answer on this machine") if relay_series() else None


def relay_series() -> dict[str, float]:
    """The series of the relay on this machine, at SENSOR_INGEST_METRICS_PORT; empty if no relay answers there."""
    port = os.environ.get("SENSOR_INGEST_METRICS_PORT", "")
    if not port.isdecimal():
        return {}
    prefix = "sensor_ingest_relay_"
    with suppress(OSError, HTTPException, ValueError):  # nothing listens there, or something else
        url = f"http://127.0.0.1:{port}/metrics"
        with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        series = (line.removeprefix(prefix).split() for line in lines if line.startswith(prefix))
        return {name: float(value) for name, value in series}
    return {}
