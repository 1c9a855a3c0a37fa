"""The fakes of the simulator answer as the emulator does: the same calls, the same answers and errors.

Known differences, which the calls below avoid: MiniStack 1.5.33 ignores `IfNoneMatch` on a copy, where S3 and the fake
refuse to overwrite, and accepts some update expressions that DynamoDB and the fake refuse; the fake accepts reserved
words in expressions and shortens the messages of ValidationException.
"""

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulation.faults import Faults
from tests.simulation.world import World
from tests.support.servers import Aws

CHANGING = {"ResponseMetadata", "LastModified", "Date", "VersionId", "CopySourceVersionId", "Message", "message"}
"""Members that differ from one time to the next, or whose wording does not matter."""
NOT_FAKED = {
    "AcceptRanges",
    "ContentType",
    "Metadata",
    "ServerSideEncryption",
    "ChecksumCRC32",
    "ChecksumCRC64NVME",
    "ChecksumType",
    "ChecksumAlgorithm",
    "StorageClass",
    "MaxKeys",
    "EncodingType",
    "Delimiter",
    "Owner",
    "ContinuationToken",
}
HANDLES = {"ReceiptHandle", "MessageId", "NextContinuationToken"}


class Caller:
    """Makes calls of one client, and keeps what each of them answered."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - a client of boto3 or of the simulator
        self.client = client
        self.answers: list[Any] = []

    def __call__(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - answers of boto3
        """The answer, or the error's."""
        refused: tuple[str, ...] = ()
        try:
            answer = getattr(self.client, operation)(**parameters)
        except ClientError as error:
            answer = dict(error.response)
            refused = (error.operation_name, type(error).__name__, answer.pop("Error")["Code"])
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        self.answers.append((operation, status, *refused, comparable(answer)))
        return answer


def comparable(value: Any) -> Any:  # noqa: ANN401 - any part of an answer
    """The answer without what differs from one time to the next."""
    if isinstance(value, Mapping):
        return {
            name: "..." if name in HANDLES else comparable(each)
            for name, each in value.items()
            if name not in CHANGING | NOT_FAKED and each != []
        }
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return value.read() if hasattr(value, "read") else value


# ---- DynamoDB -----------------------------------------------------------------------------------------------------

KEY = {"file": {"S": "bucket/a.csv"}, "version": {"S": "#claim"}}
OTHER = {"file": {"S": "bucket/a.csv"}, "version": {"S": "1"}}
ALL_OLD = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
NAMES = {"ExpressionAttributeNames": {"#file": "file"}}
MISSING = {"ConditionExpression": "attribute_not_exists(#file)", **NAMES}


def conditional_puts(call: Caller, table: str) -> None:
    item = {**KEY, "revision": {"N": "1"}, "holds": {"S": "v1"}}
    call("put_item", TableName=table, Item=item, **MISSING, **ALL_OLD)
    call("put_item", TableName=table, Item=item, **MISSING, **ALL_OLD)
    call("put_item", TableName=table, Item=item, **MISSING)
    for revision in ("1", "1", "1.0", "2"):
        call(
            "put_item",
            TableName=table,
            Item={**item, "revision": {"N": "2"}},
            ConditionExpression="revision = :revision",
            ExpressionAttributeValues={":revision": {"N": revision}},
            **ALL_OLD,
            ReturnValues="ALL_OLD",
        )
    call("get_item", TableName=table, Key=KEY, ConsistentRead=True)
    call("get_item", TableName=table, Key=OTHER)
    call(
        "delete_item",
        TableName=table,
        Key=KEY,
        ConditionExpression="holds = :v",
        ExpressionAttributeValues={":v": {"S": "v2"}},
        **ALL_OLD,
    )
    call("delete_item", TableName=table, Key=OTHER, ReturnValues="ALL_OLD")
    call("delete_item", TableName=table, Key=KEY, ReturnValues="ALL_OLD")
    call("get_item", TableName=table, Key=KEY)


UPDATES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SET a = :n, b = if_not_exists(b, :n) + :n", {":n": {"N": "2"}}),
    ("SET b = b - :n REMOVE a, absent", {":n": {"N": "0.5"}}),
    ("ADD b :n, c :n", {":n": {"N": "-3"}}),
    ("SET d = :list, e = :map", {":list": {"L": [{"S": "x"}]}, ":map": {"M": {"deep": {"N": "1"}}}}),
    ("SET d = list_append(d, :list), e.deep = :s", {":list": {"L": [{"S": "y"}]}, ":s": {"S": "changed"}}),
    ("SET d[0] = :s, d[9] = :s REMOVE e.deep", {":s": {"S": "z"}}),
    ("ADD f :set", {":set": {"SS": ["one", "two"]}}),
    ("DELETE f :set", {":set": {"SS": ["one"]}}),
    ("DELETE f :set", {":set": {"SS": ["two"]}}),
    ("SET nowhere.deep = :s", {":s": {"S": "x"}}),
    ("SET a = absent", {}),
    ("SET a = b, b = a", {}),
    ("SET a = :s", {":s": {"S": "1"}, ":unused": {"S": "x"}}),
    ("SET a = :absent", {":s": {"S": "1"}}),
    ("SET version = :s", {":s": {"S": "2"}}),
    ("SET waits_for = :s", {":s": {"S": "load"}}),
    ("SET waits_for = :n", {":n": {"N": "1"}}),
)


def updates(call: Caller, table: str) -> None:
    for expression, values in UPDATES:
        given = {"ExpressionAttributeValues": values} if values else {}
        call("update_item", TableName=table, Key=KEY, UpdateExpression=expression, **given, ReturnValues="ALL_NEW")
    call("update_item", TableName=table, Key=OTHER, UpdateExpression="REMOVE a", ReturnValues="ALL_NEW")
    call("get_item", TableName=table, Key=KEY, ProjectionExpression="a, b, absent")


CONDITIONS = (
    "attribute_exists(a) AND attribute_not_exists(b)",
    "NOT attribute_exists(a) OR n >= :two",
    "NOT (a = :s OR n < :two) AND s <> :s",
    "absent <> :s",
    "absent = :s",
    "NOT absent = :s",
    "n BETWEEN :two AND :ten",
    "a IN (:two, :s, :ten)",
    "begins_with(a, :s) AND size(a) < :ten",
    "contains(l, :s) OR contains(a, :s)",
    "m.deep = :two AND l[0] = :s AND m.absent < :two",
    "attribute_type(a, :type)",
    "a < :two",
    "n = :nine",
    "(a = :s) AND ((n = :ten) OR (n = :two))",
    "a = :s AND",
    "a = b = :s",
)
CONDITION_VALUES = {
    ":s": {"S": "text"},
    ":two": {"N": "2"},
    ":ten": {"N": "10"},
    ":nine": {"N": "9.00"},
    ":type": {"S": "S"},
}


def conditions(call: Caller, table: str) -> None:
    item = {**KEY, "a": {"S": "text"}, "n": {"N": "9"}, "l": {"L": [{"S": "text"}]}, "m": {"M": {"deep": {"N": "2"}}}}
    call("put_item", TableName=table, Item=item)
    for text in CONDITIONS:
        used = {name: value for name, value in CONDITION_VALUES.items() if name in text}
        given = {"ExpressionAttributeValues": used} if used else {}
        for key in (KEY, OTHER):
            call("delete_item", TableName=table, Key=key, ConditionExpression=text, **given, **ALL_OLD)
            call("put_item", TableName=table, Item=item)


def transactions(call: Caller, table: str) -> None:
    claim = {"Put": {"TableName": table, "Item": {**KEY, "revision": {"N": "1"}}, **MISSING, **ALL_OLD}}
    entry = {"Put": {"TableName": table, "Item": {**OTHER, "status": {"S": "loading"}}}}
    call("transact_write_items", TransactItems=[claim, entry])
    call("transact_write_items", TransactItems=[claim, entry])
    call("transact_write_items", TransactItems=[entry, claim])
    checked = {"TableName": table, "ConditionExpression": "revision = :r", "ExpressionAttributeValues": {}}
    for revision in ("1", "2"):
        checked["ExpressionAttributeValues"] = {":r": {"N": revision}}
        check = {"ConditionCheck": {**checked, "Key": KEY, **ALL_OLD}}
        change = {
            "Update": {
                "TableName": table,
                "Key": OTHER,
                "UpdateExpression": "SET #s = :s",
                "ConditionExpression": "#s = :old",
                "ExpressionAttributeNames": {"#s": "status"},
                "ExpressionAttributeValues": {":s": {"S": "archived"}, ":old": {"S": "loading"}},
            }
        }
        call("transact_write_items", TransactItems=[check, change])
        call("query", **of_file(table))
    call("transact_write_items", TransactItems=[entry, {"Delete": {"TableName": table, "Key": OTHER}}])
    call("transact_write_items", TransactItems=[{"Delete": {"TableName": table, "Key": OTHER}}])
    call("transact_write_items", TransactItems=[claim | {}, entry], ClientRequestToken="once")
    keys = {"Keys": [KEY, OTHER], "ConsistentRead": True}
    call("batch_get_item", RequestItems={table: keys})
    call("batch_get_item", RequestItems={table: {"Keys": [OTHER, OTHER]}})


def repeated_transactions(call: Caller, table: str) -> None:
    token = str(uuid.uuid4())
    count = {
        "Update": {
            "TableName": table,
            "Key": KEY,
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }
    call("transact_write_items", TransactItems=[count], ClientRequestToken=token)
    call("transact_write_items", TransactItems=[count], ClientRequestToken=token)
    call("get_item", TableName=table, Key=KEY)
    call("transact_write_items", TransactItems=[count, {"Delete": {"TableName": table, "Key": OTHER}}])
    call("get_item", TableName=table, Key=KEY)


def of_file(table: str, file: str = "bucket/a.csv") -> dict[str, Any]:
    values = {":f": {"S": file}}
    return {
        "TableName": table,
        "KeyConditionExpression": "#file = :f",
        "ExpressionAttributeValues": values,
        "ConsistentRead": True,
        **NAMES,
    }


def queries(call: Caller, table: str) -> None:
    for number in range(7):
        waits = {"waits_for": {"S": "load"}, "next_try_at": {"S": f"2026-11-28T0{number % 4}"}} if number % 3 else {}
        file = {"file": {"S": f"bucket/{number % 2}"}, "version": {"S": f"v{number}"}}
        call("put_item", TableName=table, Item={**file, **waits, "n": {"N": str(number)}})
    call("query", **of_file(table, "bucket/1"))
    call("query", **of_file(table, "bucket/1"), Limit=2)
    call("query", **of_file(table, "bucket/1"), ScanIndexForward=False, Select="COUNT")
    call("query", **of_file(table, "bucket/7"))
    due = {
        "TableName": table,
        "IndexName": "by-due-time",
        "KeyConditionExpression": "waits_for = :w AND next_try_at <= :until",
        "ExpressionAttributeValues": {":w": {"S": "load"}, ":until": {"S": "2026-11-28T02"}},
    }
    page = call("query", **due)
    call("query", **due, ScanIndexForward=False)
    first = call("query", **due, Limit=1)
    call("query", **due, Limit=len(page["Items"]), ExclusiveStartKey=first["LastEvaluatedKey"])
    call("query", **due, ExclusiveStartKey=first["LastEvaluatedKey"])
    call("query", **due, ConsistentRead=True)
    call("query", **(due | {"KeyConditionExpression": "next_try_at <= :until AND :w = :w"}))
    call("query", **(due | {"IndexName": "absent"}))
    moved = {"file": {"S": "bucket/1"}, "version": {"S": "v1"}}
    call("update_item", TableName=table, Key=moved, UpdateExpression="REMOVE waits_for")
    call("query", **due)
    filtered = of_file(table, "bucket/1") | {"FilterExpression": "n > :n"}
    filtered["ExpressionAttributeValues"] = {":f": {"S": "bucket/1"}, ":n": {"N": "4"}}
    call("query", **filtered)


def refused_calls(call: Caller, table: str) -> None:
    call("get_item", TableName="absent", Key=KEY)
    call("get_item", TableName=table, Key={"file": {"S": "x"}})
    call("get_item", TableName=table, Key={**KEY, "more": {"S": "x"}})
    call("get_item", TableName=table, Key={**KEY, "version": {"N": "1"}})
    call("put_item", TableName=table, Item={"file": {"S": "x"}})
    call("put_item", TableName=table, Item={**KEY, "next_try_at": {"N": "1"}})
    call("put_item", TableName=table, Item=KEY, ConditionExpression="revision = :absent")
    call("put_item", TableName=table, Item=KEY, **NAMES, ConditionExpression="attribute_exists(a)")


def random_calls(call: Caller, table: str) -> None:
    """Two hundred calls, from one seed for both sides."""
    chosen = random.Random(7)
    keys = [{"file": {"S": file}, "version": {"S": version}} for file in "xy" for version in ("#claim", "1", "2")]
    tests = ["attribute_not_exists(n)", "n = :n", "n < :n OR attribute_exists(a)", "NOT n >= :n", "a = :s"]
    changes = ["SET n = :n", "ADD n :n", "SET a = :s REMOVE n", "SET a = if_not_exists(a, :s), n = :n"]
    for _ in range(200):
        values = {":n": {"N": str(chosen.randint(0, 3))}, ":s": {"S": chosen.choice("ab")}}
        actions = []
        for key in chosen.sample(keys, chosen.choice((1, 1, 2, 3))):
            condition, change = chosen.choice(tests), chosen.choice(changes)
            used = {name: value for name, value in values.items() if name in condition + change}
            parameters = {"TableName": table, "Key": key, "UpdateExpression": change, "ConditionExpression": condition}
            actions.append({**parameters, "ExpressionAttributeValues": used, **ALL_OLD})
        if len(actions) == 1:
            call("update_item", **actions[0], ReturnValues="ALL_NEW")
        else:
            call("transact_write_items", TransactItems=[{"Update": action} for action in actions])
    call("query", **of_file(table, "x"))
    call("query", **of_file(table, "y"))


DYNAMODB = (
    conditional_puts,
    updates,
    conditions,
    transactions,
    repeated_transactions,
    queries,
    refused_calls,
    random_calls,
)


@pytest.mark.parametrize("calls", DYNAMODB, ids=lambda calls: calls.__name__)
def test_dynamodb(calls: Callable[[Caller, str], None], aws: Aws, world: World) -> None:
    fake, real = Caller(world.dynamodb.client), Caller(aws.client("dynamodb"))
    name = f"files-{uuid.uuid4()}"
    world.dynamodb.create_table(name, "file", "version", {"by-due-time": ("waits_for", "next_try_at", ())})
    make_table(real.client, name)
    calls(fake, name)
    calls(real, name)
    assert_equal_answers(fake, real)


@pytest.mark.parametrize("expression", ["SET a = :s, a = :s", "SET a :s", "SET a = l + :s"])
def test_updates_that_only_the_fake_refuses(expression: str, world: World) -> None:
    """DynamoDB does, too. Source: "Update expressions" and "Naming rules", Amazon DynamoDB developer guide."""
    world.dynamodb.create_table("files", "file", "version")
    call = Caller(world.dynamodb.client)
    call("put_item", TableName="files", Item={**KEY, "l": {"L": []}})
    values = {":s": {"S": "1"}}
    call("update_item", TableName="files", Key=KEY, UpdateExpression=expression, ExpressionAttributeValues=values)
    assert call.answers[-1][4:] == ("ValidationException", {})


def make_table(client: Any, name: str) -> None:  # noqa: ANN401 - a client of boto3
    index = {
        "IndexName": "by-due-time",
        "KeySchema": [
            {"AttributeName": "waits_for", "KeyType": "HASH"},
            {"AttributeName": "next_try_at", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": "S"} for each in ("file", "version", "waits_for", "next_try_at")
        ],
        KeySchema=[
            {"AttributeName": "file", "KeyType": "HASH"},
            {"AttributeName": "version", "KeyType": "RANGE"},
        ],
        GlobalSecondaryIndexes=[index],
    )


# ---- S3 -----------------------------------------------------------------------------------------------------------


def conditional_reads(call: Caller, bucket: str) -> None:
    first = call("put_object", Bucket=bucket, Key="incoming/a.csv", Body=b"one")
    call("put_object", Bucket=bucket, Key="incoming/a.csv", Body=b"two")
    for key, more in (
        ("incoming/a.csv", {}),
        ("incoming/a.csv", {"IfMatch": first["ETag"]}),
        ("incoming/a.csv", {"IfMatch": "*"}),
        ("absent", {}),
        ("absent", {"IfMatch": "*"}),
    ):
        call("head_object", Bucket=bucket, Key=key, **more)
        call("get_object", Bucket=bucket, Key=key, **more)
    if "VersionId" in first:
        call("get_object", Bucket=bucket, Key="incoming/a.csv", VersionId=first["VersionId"])
        call("head_object", Bucket=bucket, Key="incoming/a.csv", VersionId=first["VersionId"])


def copies(call: Caller, bucket: str) -> None:
    first = call("put_object", Bucket=bucket, Key="incoming/a.csv", Body=b"one")
    second = call("put_object", Bucket=bucket, Key="incoming/a.csv", Body=b"two")
    source = {"Bucket": bucket, "Key": "incoming/a.csv"}
    call("copy_object", Bucket=bucket, Key="processed/a.csv", CopySource=source, CopySourceIfMatch=first["ETag"])
    call("copy_object", Bucket=bucket, Key="processed/a.csv", CopySource=source, CopySourceIfMatch=second["ETag"])
    call("head_object", Bucket=bucket, Key="processed/a.csv")
    call("copy_object", Bucket=bucket, Key="processed/b.csv", CopySource=source, IfNoneMatch="*")
    call("copy_object", Bucket=bucket, Key="x", CopySource={**source, "Key": "absent"})
    if "VersionId" in first:
        old = {**source, "VersionId": first["VersionId"]}
        call("copy_object", Bucket=bucket, Key="processed/c.csv", CopySource=old, CopySourceIfMatch=first["ETag"])
        call("get_object", Bucket=bucket, Key="processed/c.csv")


def deletions(call: Caller, bucket: str) -> None:
    first = call("put_object", Bucket=bucket, Key="a", Body=b"one")
    call("put_object", Bucket=bucket, Key="a", Body=b"two")
    call("delete_object", Bucket=bucket, Key="a", IfMatch=first["ETag"])
    call("get_object", Bucket=bucket, Key="a")
    third = call("put_object", Bucket=bucket, Key="a", Body=b"one")
    call("delete_object", Bucket=bucket, Key="a", IfMatch=third["ETag"])
    call("head_object", Bucket=bucket, Key="a")
    call("get_object", Bucket=bucket, Key="a")
    call("delete_object", Bucket=bucket, Key="a", IfMatch=third["ETag"])
    call("delete_object", Bucket=bucket, Key="never")
    if "VersionId" in first:
        call("get_object", Bucket=bucket, Key="a", VersionId=first["VersionId"])
        call("delete_object", Bucket=bucket, Key="a", VersionId=first["VersionId"])
        call("get_object", Bucket=bucket, Key="a", VersionId=first["VersionId"])


def conditional_uploads(call: Caller, bucket: str) -> None:
    call("put_object", Bucket=bucket, Key="a", Body=b"one", IfNoneMatch="*")
    call("put_object", Bucket=bucket, Key="a", Body=b"two", IfNoneMatch="*")
    call("put_object", Bucket=bucket, Key="a", Body=b"two", IfMatch='"no"')
    call("get_object", Bucket=bucket, Key="a")
    call("get_object", Bucket="absent-bucket", Key="a")


def listings(call: Caller, bucket: str) -> None:
    for key in ("incoming/b", "incoming/a", "processed/a", "incoming/c", "incoming/d"):
        call("put_object", Bucket=bucket, Key=key, Body=key.encode())
    call("delete_object", Bucket=bucket, Key="incoming/c")
    call("list_objects_v2", Bucket=bucket, Prefix="incoming/")
    page = call("list_objects_v2", Bucket=bucket, Prefix="incoming/", MaxKeys=2)
    call(
        "list_objects_v2",
        Bucket=bucket,
        Prefix="incoming/",
        MaxKeys=2,
        ContinuationToken=page["NextContinuationToken"],
    )
    call("list_objects_v2", Bucket=bucket, Prefix="nothing/")
    pages = call.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="incoming/")
    call.answers.append([found["Key"] for page in pages for found in page.get("Contents", [])])


S3_CALLS = (conditional_reads, copies, deletions, conditional_uploads, listings)


@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
@pytest.mark.parametrize("calls", S3_CALLS, ids=lambda calls: calls.__name__)
def test_s3(calls: Callable[[Caller, str], None], versioned: bool, aws: Aws, world: World) -> None:  # noqa: FBT001
    fake, real = Caller(world.s3.client), Caller(aws.client("s3"))
    name = f"landing-{uuid.uuid4()}"
    world.s3.create_bucket(name, versioned=versioned)
    real.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    if versioned:
        real.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    calls(fake, name)
    calls(real, name)
    assert_equal_answers(fake, real)


def test_only_the_fake_refuses_a_copy_onto_an_object(aws: Aws, world: World) -> None:
    """The known difference; when MiniStack refuses too, this test says so and `copies` can have the call."""
    fake, real = Caller(world.s3.client), Caller(aws.client("s3"))
    name = f"landing-{uuid.uuid4()}"
    world.s3.create_bucket(name)
    real.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    statuses = []
    for call in (fake, real):
        for key in ("a", "b"):
            call("put_object", Bucket=name, Key=key, Body=b"one")
        answer = call("copy_object", Bucket=name, Key="b", CopySource=f"{name}/a", IfNoneMatch="*")
        statuses.append(answer["ResponseMetadata"]["HTTPStatusCode"])
    assert statuses == [412, 200]


# ---- SQS ----------------------------------------------------------------------------------------------------------


def messages(call: Caller, queue: str) -> None:
    for number in range(3):
        call("send_message", QueueUrl=queue, MessageBody=f"message {number}")
    received = []
    for _ in range(3):
        answer = call.client.receive_message(QueueUrl=queue, VisibilityTimeout=60, WaitTimeSeconds=1)
        received += answer["Messages"]
    call.answers.append(sorted((each["Body"], each["MD5OfBody"]) for each in received))
    call("receive_message", QueueUrl=queue, MaxNumberOfMessages=10)
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    call("get_queue_attributes", QueueUrl=queue, AttributeNames=attributes)
    released = [{"Id": "0", "ReceiptHandle": received[0]["ReceiptHandle"], "VisibilityTimeout": 0}]
    call("change_message_visibility_batch", QueueUrl=queue, Entries=released)
    again = call.client.receive_message(
        QueueUrl=queue, MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"]
    )
    (message,) = again["Messages"]
    call.answers.append((sorted(message), sorted(message["Attributes"]), message["Body"] == received[0]["Body"]))
    call.answers.append(message["Attributes"]["ApproximateReceiveCount"])
    entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(received[1:])]
    call("delete_message_batch", QueueUrl=queue, Entries=entries)
    call("delete_message", QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    call("get_queue_attributes", QueueUrl=queue, AttributeNames=attributes)


def test_sqs(aws: Aws, world: World) -> None:
    fake, real = Caller(world.sqs.client), Caller(aws.client("sqs"))
    messages(fake, world.sqs.create_queue("queue").url)
    messages(real, real.client.create_queue(QueueName=f"queue-{uuid.uuid4()}")["QueueUrl"])
    assert_equal_answers(fake, real)


def test_an_absent_queue(aws: Aws, world: World) -> None:
    fake, real = Caller(world.sqs.client), Caller(aws.client("sqs"))
    fake("receive_message", QueueUrl="https://sqs/absent")
    real("receive_message", QueueUrl=f"{aws.endpoint_url}/000000000000/absent")
    assert_equal_answers(fake, real)


# ---- All ----------------------------------------------------------------------------------------------------------


def test_every_answer_has_the_date_in_whole_seconds(aws: Aws, world: World) -> None:
    name = f"files-{uuid.uuid4()}"
    make_table(aws.client("dynamodb"), name)
    world.dynamodb.create_table(name, "file", "version")
    for client in (aws.client("dynamodb"), world.dynamodb.client):
        date = client.get_item(TableName=name, Key=KEY)["ResponseMetadata"]["HTTPHeaders"]["date"]
        assert len(date) == len("Sat, 28 Nov 2026 03:00:00 GMT")
        assert date.endswith(" GMT")
    assert "Sat, 28 Nov 2026 03:00:00 GMT" == date


@pytest.fixture
def world() -> Iterator[World]:
    with World(0, Faults()) as world:
        yield world


def assert_equal_answers(fake: Caller, real: Caller) -> None:
    assert len(fake.answers) == len(real.answers)
    pairs = zip(fake.answers, real.answers, strict=True)
    assert [(n, one, other) for n, (one, other) in enumerate(pairs) if one != other] == []
