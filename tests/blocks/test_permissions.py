"""What AWS refuses fails at once, naming the permission to grant, on what, and the block whose credentials lack it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from prefect_aws.credentials import AwsCredentials

from blocks.aws_clients import client_of
from blocks.domain.errors import PermissionMissingError
from blocks.domain.models import SensorFile
from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from tests.blocks.conftest import Bucket, Line, archive, refusal, s3_refusal
from tests.blocks.dynamodb.conftest import SCHEMA
from tests.blocks.ledger_entries import FILE

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse

ROWS = pa.record_batch([["0000-0001"], [1_483_906_366], ["10.1"]], schema=SCHEMA)


def refused(line: Line, operation: str, answer: "AWSResponse", call: Callable[[], object]) -> str:
    """What the error says; the call that was refused was not tried again."""
    with line.answering(operation, answer), pytest.raises(PermissionMissingError) as error:
        call()
    assert 1 == len(line.calls)
    assert isinstance(error.value.__cause__, ClientError)
    return str(error.value)


def read(landing_zone: LandingZone, file: SensorFile) -> None:
    with landing_zone.opened(file):
        pass


def find_waiting(landing_zone: LandingZone, _file: SensorFile) -> None:
    list(landing_zone.waiting(timedelta(0)))


def store_rejects(landing_zone: LandingZone, file: SensorFile) -> None:
    landing_zone.store_rejects(file, Path(__file__), refused=False)


@pytest.mark.parametrize(
    ("permission", "resource", "operation", "call"),
    [
        ("s3:GetObject (and s3:ListBucket, ", "{bucket}/incoming/a.csv", "HeadObject", LandingZone.describe),
        ("s3:GetObject (for a version: s3:GetObjectVersion)", "{bucket}/incoming/a.csv", "GetObject", read),
        ("s3:ListBucket", "{bucket}/incoming/", "ListObjectsV2", find_waiting),
        ("s3:PutObject", "{bucket}/rejects/a.csv.rejects.csv", "PutObject", store_rejects),
        (
            "s3:GetObject or s3:GetObjectTagging ",
            "{bucket}/incoming/a.csv or s3://{bucket}/processed/a.csv",
            "CopyObject",
            archive,
        ),
        ("s3:DeleteObject", "{bucket}/incoming/a.csv", "DeleteObject", archive),
    ],
)
def test_a_call_that_s3_refuses_names_permission_object_and_block_and_leaves_the_file_where_it_is(  # noqa: PLR0917
    permission: str,
    resource: str,
    operation: str,
    call: Callable[[LandingZone, SensorFile], object],
    landing_zone: LandingZone,
    bucket: Bucket,
    s3_line: Line,
) -> None:
    file = bucket.put("incoming/a.csv")
    answer = s3_refusal(403, "AccessDenied", with_body=operation != "HeadObject")
    said = refused(s3_line, operation, answer, lambda: call(landing_zone, file))
    assert said.startswith(f"AWS refused {permission}")
    assert f" on s3://{resource.format(bucket=bucket.name)}. " in said
    assert "credentials of the block 'sensor-landing-zone/(not saved)'" in said
    assert "incoming/a.csv" in bucket.keys


@pytest.mark.parametrize(
    ("permission", "operation", "where", "call"),
    [
        ("PutItem", "TransactWriteItems", "table {table}", lambda ledger: ledger.claim(FILE, "c1", "run-1")),
        ("PutItem", "PutItem", "table {table}", lambda ledger: ledger.expect([FILE], timedelta(0))),
        ("BatchGetItem", "BatchGetItem", "table {table}", lambda ledger: ledger.claim_of("landing", FILE.key)),
        ("Query", "Query", "table {table}", lambda ledger: ledger.entries_of("landing", FILE.key)),
        ("Query", "Query", "index by-due-time of table {table}", lambda ledger: list(ledger.due_files())),
        ("Query", "Query", "index by-month of table {table}", lambda ledger: list(ledger.newest(1))),
    ],
)
def test_a_call_about_the_ledger_that_dynamodb_refuses_names_permission_table_and_block(  # noqa: PLR0917
    permission: str,
    operation: str,
    where: str,
    call: Callable[[FileLedger], Any],
    file_ledger: FileLedger,
    dynamodb_line: Line,
) -> None:
    said = refused(dynamodb_line, operation, refusal(400, "AccessDeniedException"), lambda: call(file_ledger))
    assert said.startswith(f"AWS refused dynamodb:{permission} on {where.format(table=file_ledger.table_name)}. ")
    assert "'sensor-file-ledger/(not saved)'" in said


def test_a_batch_of_readings_that_dynamodb_refuses_names_permission_and_table(
    credentials: AwsCredentials, dynamodb_line: Line
) -> None:
    table = ReadingsTable(table_name="readings", credentials=credentials, sender="boto3")
    said = refused(dynamodb_line, "BatchWriteItem", refusal(400, "AccessDeniedException"), lambda: table.write([ROWS]))
    assert said.startswith("AWS refused dynamodb:BatchWriteItem on table readings. ")


def test_a_mail_that_ses_may_not_send_names_permissions_and_sender(credentials: AwsCredentials) -> None:
    mailer = Mailer(sender="sensors@example.com", recipients=["ada@example.com"], credentials=credentials)
    line = Line(client_of(credentials, "sesv2"))
    said = refused(
        line,
        "SendEmail",
        refusal(403, "AccessDeniedException"),
        lambda: mailer.send("subject", "text", recipients=mailer.recipients),
    )
    assert said.startswith("AWS refused ses:SendEmail and ses:SendRawEmail on identity sensors@example.com. ")
