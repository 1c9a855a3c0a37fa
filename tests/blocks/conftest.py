"""Blocks on what each test has of its own in the emulator, and a hand on what their clients say to it."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.aws_clients import client_of
from blocks.domain.models import FileStatus, SensorFile, StoredFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.table import DUE_INDEX, MONTH_INDEX
from blocks.landing_zone import LandingZone
from tests.blocks.ledger_entries import with_moved_clock
from tests.support.servers import REGION, Aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def credentials(aws: Aws) -> AwsCredentials:
    """Credentials for the emulator. botocore itself tries nothing again, so that tests need not wait for it."""
    return AwsCredentials(
        aws_access_key_id="test",
        aws_secret_access_key=SecretStr("made-up-secret"),
        region_name=REGION,
        aws_client_parameters=AwsClientParameters(
            endpoint_url=aws.endpoint_url, config={"retries": {"max_attempts": 0}}
        ),
    )


# ---- What clients say ---------------------------------------------------------------------------------------------


@dataclass
class Line:
    """The line between a block's client and AWS: how often it was used, and with what."""

    client: Any
    calls: list[Any] = field(default_factory=list)

    @contextmanager
    def on(self, event: str, handler: Callable[..., Any]) -> Iterator[None]:
        self.client.meta.events.register(event, handler)
        try:
            yield
        finally:
            self.client.meta.events.unregister(event, handler)

    @contextmanager
    def answering(self, operation: str, *answers: AWSResponse | None) -> Iterator[None]:
        """The calls of that operation are answered thus, one after the other; None, and all further ones, by AWS."""
        left = list(answers)

        def answer(request: Any, **_: Any) -> AWSResponse | None:  # noqa: ANN401 - botocore's own
            self.calls.append(request)
            return left.pop(0) if left else None

        with self.on(f"before-send.*.{operation}", answer):
            yield

    @contextmanager
    def before(self, operation: str, action: Callable[[], object]) -> Iterator[None]:
        """Something is done once, before the first call of that operation goes out."""
        left = [action]

        def act(**_: Any) -> None:  # noqa: ANN401
            if left:
                left.pop()()

        with self.on(f"before-send.*.{operation}", act):
            yield

    @contextmanager
    def sent_twice(self, operation: str) -> Iterator[None]:
        """Calls of that operation reach AWS, their answers are lost, and they are made again."""

        def send(request: AWSPreparedRequest, **_: Any) -> None:  # noqa: ANN401
            URLLib3Session().send(request)

        with self.on(f"before-send.*.{operation}", send):
            yield


class Body:
    """What botocore reads an answer's bytes from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def refusal(status: int, code: str, message: str = "no") -> AWSResponse:
    """An answer of DynamoDB or SES that says no."""
    content = json.dumps({"__type": f"com.amazonaws#{code}", "message": message}).encode()
    return _answer(status, content)


def s3_refusal(status: int, code: str, *, with_body: bool = True) -> AWSResponse:
    """An answer of S3 that says no; one to a HEAD has no body."""
    content = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if with_body else b""
    return _answer(status, content)


def _answer(status: int, content: bytes) -> AWSResponse:
    return AWSResponse("http://aws", status, HTTPHeaders(), Body(content))


# ---- The bucket ---------------------------------------------------------------------------------------------------


@dataclass
class Bucket:
    """A bucket, as somebody sees it who looks at it with other tools."""

    client: "S3Client"
    name: str

    def put(self, key: str, content: bytes = b"0000-0001,1483906366,10.10\n") -> StoredFile:
        """The file as the claim finds it."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return self.look_at(key)

    def look_at(self, key: str) -> StoredFile:
        """With version, ETag, size and age."""
        head = self.client.head_object(Bucket=self.name, Key=key)
        return StoredFile(
            bucket=self.name,
            key=key,
            version_id=head.get("VersionId"),
            etag=head["ETag"].strip('"'),
            size=head["ContentLength"],
            landed_at=head["LastModified"],
        )

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    @property
    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


@pytest.fixture(scope="session")
def make_bucket(aws: Aws) -> Callable[[bool], Bucket]:
    def make(versioned: bool) -> Bucket:  # noqa: FBT001 - the only thing that two buckets differ in
        client: S3Client = aws.client("s3")
        name = f"landing-{uuid.uuid4()}"
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return Bucket(client, name)

    return make


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def bucket(request: pytest.FixtureRequest, make_bucket: Callable[[bool], Bucket]) -> Bucket:
    """A bucket with versions, and one without."""
    return make_bucket(bool(request.param))


@pytest.fixture
def landing_zone(bucket: Bucket, credentials: AwsCredentials) -> LandingZone:
    return LandingZone(bucket=bucket.name, credentials=credentials)


def archive(landing_zone: LandingZone, file: SensorFile, status: FileStatus = "archived") -> str:
    """The address that a file is at once it was moved as runs move it, but for the note in the ledger in between."""
    copy = landing_zone.store_copy(file, status)
    landing_zone.remove(file)
    return copy


def refuse(landing_zone: LandingZone, file: SensorFile) -> str:
    return archive(landing_zone, file, "refused")


@pytest.fixture
def s3_line(credentials: AwsCredentials) -> Line:
    return Line(client_of(credentials, "s3"))


# ---- The tables ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def dynamodb(aws: Aws) -> "DynamoDBClient":
    client: DynamoDBClient = aws.client("dynamodb")
    return client


@pytest.fixture
def file_ledger(dynamodb: "DynamoDBClient", credentials: AwsCredentials) -> FileLedger:
    """A ledger of its own, whose table has the keys and indexes of the template's."""
    names = ("file", "version", "month", "claimed_at", "waits_for", "next_try_at")
    table_name = f"files-{uuid.uuid4()}"
    dynamodb.create_table(
        TableName=table_name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=key_schema("file", "version"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": MONTH_INDEX,
                "KeySchema": key_schema("month", "claimed_at"),
                "Projection": {"ProjectionType": "ALL"},
            },
            {
                "IndexName": DUE_INDEX,
                "KeySchema": key_schema("waits_for", "next_try_at"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
        ],
    )
    return with_moved_clock(FileLedger(table_name=table_name, credentials=credentials))


def key_schema(key: str, order: str) -> Any:  # noqa: ANN401 - boto3's own
    return [{"AttributeName": key, "KeyType": "HASH"}, {"AttributeName": order, "KeyType": "RANGE"}]


@pytest.fixture
def dynamodb_line(credentials: AwsCredentials) -> Line:
    return Line(client_of(credentials, "dynamodb"))


def make_table(client: "DynamoDBClient", name: str, key: tuple[str, Any], order: tuple[str, Any]) -> str:
    made = client.create_table(
        TableName=f"{name}-{uuid.uuid4()}",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": kind} for each, kind in (key, order)],
        KeySchema=key_schema(key[0], order[0]),
    )
    return made["TableDescription"]["TableName"]
