"""Each action that the policies of relay and runs allow: taken away, something is refused.

`STEPS` has for each action of each statement the smallest piece of the product that needs it; `KEPT` has the actions
whose need localemu cannot show, with the reason. `docs/security.md` says the same.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from blocks.aws_clients import client_of
from blocks.domain.errors import PermissionMissingError
from blocks.domain.models import SensorFile, StoredFile
from blocks.landing_zone import LandingZone
from blocks.stack_outputs import StackOutputs
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.stop_signal import StopSignal
from flows.recovery.due_files import CLAIMED_WITHIN
from tests.blocks.conftest import Line, s3_refusal
from tests.blocks.dynamodb.conftest import SCHEMA
from tests.iam.installation import Installation, actions_of
from tests.support.rendered_template import rendered

ROWS: Final = pa.record_batch([["0000-0001"], [1_483_906_366], ["10.1"]], schema=SCHEMA)


class NotAbortedError(Exception):
    """The parts of a copy that failed are still stored."""


def landed(stack: Installation, **how: str) -> StoredFile:
    """A new file in `incoming/`, as a run describes it."""
    key = f"incoming/{uuid4()}.csv"
    stack.aws.client("s3").put_object(
        Bucket=stack.outputs.bucket_name, Key=key, Body=b"0000-0001,1483906366,1\n", **how
    )
    head = stack.aws.client("s3").head_object(Bucket=stack.outputs.bucket_name, Key=key)
    return StoredFile(
        bucket=stack.outputs.bucket_name,
        key=key,
        version_id=head.get("VersionId"),
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        landed_at=head["LastModified"],
    )


# ---- What runs do -------------------------------------------------------------------------------------------------


def look_for_waiting(stack: Installation) -> None:
    list(stack.zone.waiting(timedelta(0)))


def describe(stack: Installation) -> None:
    assert stack.zone.describe(landed(stack))


def read_version(stack: Installation) -> None:
    with stack.zone.opened(landed(stack)) as body:
        body.read()


def archive(stack: Installation) -> None:
    stack.zone.store_copy(landed(stack), "archived")


def archive_with_tags(stack: Installation) -> None:
    stack.zone.store_copy(landed(stack, Tagging="team=weather"), "archived")


def remove(stack: Installation) -> None:
    stack.zone.remove(landed(stack))


def copy_in_parts_and_fail(stack: Installation) -> None:
    """A copy in parts, of which S3 refuses one: what it has stored of the others is deleted."""
    line = Line(client_of(stack.run_credentials, "s3"))
    refused = line.answering("UploadPartCopy", s3_refusal(403, "InvalidObjectState"))
    with pytest.MonkeyPatch.context() as patch, refused:
        patch.setattr(LandingZone, "copy_in_one_bytes", 0)
        with pytest.raises(ClientError, match="InvalidObjectState"):
            stack.zone.store_copy(landed(stack), "archived")
    s3, bucket = stack.aws.client("s3"), stack.outputs.processed_bucket_name
    left = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    for upload in left:
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    if left:
        raise NotAbortedError


def store_readings(stack: Installation) -> None:
    stack.table.write([ROWS])


def read_claim(stack: Installation) -> None:
    stack.ledger.claim_of(stack.outputs.bucket_name, "incoming/a.csv")


def claim(stack: Installation) -> None:
    stack.ledger.claim(landed(stack), "claim", "run")


def read_entries(stack: Installation) -> None:
    stack.ledger.entries_of(stack.outputs.bucket_name, "incoming/a.csv")


def look_for_due(stack: Installation) -> None:
    list(stack.ledger.due_files())


def send_mail(stack: Installation) -> None:
    stack.mailer.send("subject", "text", recipients=stack.mailer.recipients)


# ---- What the relay does ------------------------------------------------------------------------------------------


def queue(stack: Installation) -> SqsQueue:
    return SqsQueue(stack.aws.client("sqs", stack.relay), stack.outputs.queue_url)


def receive(stack: Installation) -> None:
    queue(stack).receive(StopSignal(), 0)


def a_message(stack: Installation) -> Any:  # noqa: ANN401 - of boto3
    stack.aws.client("sqs").send_message(QueueUrl=stack.outputs.queue_url, MessageBody="{}")
    return queue(stack).receive(StopSignal(), 1)


def release(stack: Installation) -> None:
    queue(stack).release(a_message(stack))


def delete(stack: Installation) -> None:
    queue(stack).delete(a_message(stack))


def backlog(stack: Installation) -> None:
    queue(stack).backlog()


def expect(stack: Installation) -> None:
    file = SensorFile(bucket=stack.outputs.bucket_name, key=f"incoming/{uuid4()}.csv")
    stack.relay_ledger.expect([file], CLAIMED_WITHIN)


def look_for_settled(stack: Installation) -> None:
    """As for the email of an ingest run that has died."""
    stack.relay_ledger.settled_for("an email", [(stack.outputs.bucket_name, "incoming/a.csv")])


def relay_looks_for_due(stack: Installation) -> None:
    list(stack.relay_ledger.due_files())


def read_outputs(stack: Installation) -> None:
    StackOutputs.read(stack.name, stack.aws.client("cloudformation", stack.relay))


Step = Callable[[Installation], object]

STEPS: Final[dict[tuple[str, str], tuple[str, Step]]] = {
    ("List", "s3:ListBucket"): ("main", look_for_waiting),
    ("TakeFromIncoming", "s3:DeleteObject"): ("main", remove),
    ("TakeFromIncoming", "s3:GetObject"): ("main", describe),
    ("TakeFromIncoming", "s3:GetObjectTagging"): ("existing", archive_with_tags),
    ("TakeFromIncoming", "s3:GetObjectVersion"): ("main", read_version),
    ("TakeFromIncoming", "s3:GetObjectVersionTagging"): ("main", archive_with_tags),
    ("PutWhereFilesGo", "s3:AbortMultipartUpload"): ("main", copy_in_parts_and_fail),
    ("PutWhereFilesGo", "s3:GetObject"): ("main", archive),
    ("PutWhereFilesGo", "s3:PutObject"): ("main", archive),
    ("PutWhereFilesGo", "s3:PutObjectTagging"): ("main", archive_with_tags),
    ("PutInTheProcessedBucket", "s3:AbortMultipartUpload"): ("existing", copy_in_parts_and_fail),
    ("PutInTheProcessedBucket", "s3:GetObject"): ("existing", archive),
    ("PutInTheProcessedBucket", "s3:ListBucket"): ("existing", archive),
    ("PutInTheProcessedBucket", "s3:PutObject"): ("existing", archive),
    ("PutInTheProcessedBucket", "s3:PutObjectTagging"): ("existing", archive_with_tags),
    ("StoreReadings", "dynamodb:BatchWriteItem"): ("main", store_readings),
    ("KeepTheLedger", "dynamodb:BatchGetItem"): ("main", read_claim),
    ("KeepTheLedger", "dynamodb:PutItem"): ("main", claim),
    ("KeepTheLedger", "dynamodb:Query"): ("main", read_entries),
    ("ReadTheLedgerByIndex", "dynamodb:Query"): ("main", look_for_due),
    ("SendMailAsTheSender", "ses:SendRawEmail"): ("main", send_mail),
    ("TakeArrivals", "sqs:ChangeMessageVisibility"): ("main", release),
    ("TakeArrivals", "sqs:DeleteMessage"): ("main", delete),
    ("TakeArrivals", "sqs:GetQueueAttributes"): ("main", backlog),
    ("TakeArrivals", "sqs:ReceiveMessage"): ("main", receive),
    ("KeepDueTimes", "dynamodb:BatchGetItem"): ("main", expect),
    ("KeepDueTimes", "dynamodb:PutItem"): ("main", expect),
    ("KeepDueTimes", "dynamodb:Query"): ("main", look_for_settled),
    ("ReadDueTimes", "dynamodb:Query"): ("main", relay_looks_for_due),
    ("ReadOutputs", "cloudformation:DescribeStacks"): ("main", read_outputs),
}
"""By statement and action: the stack, and what is refused in it."""

_KMS: Final = "localemu asks KMS nothing for what S3, SQS and DynamoDB encrypt; AWS's pages about each of them name it"

KEPT: Final[dict[tuple[str, str], str]] = {
    ("UseTheKey", "kms:Decrypt"): _KMS,
    ("UseTheKey", "kms:DescribeKey"): _KMS,
    ("UseTheKey", "kms:GenerateDataKey"): _KMS,
    ("SendMailAsTheSender", "ses:SendEmail"): (
        "SES's reference names both actions for SendEmail; errors of AWS that are known name the other one alone for "
        "raw messages. This one allows no more: it has the same condition"
    ),
}


def allowed() -> set[tuple[str, str]]:
    """Statement and action of all that the template can allow relay and runs."""
    arn = "arn:aws:kms:eu-central-1:000000000000:key/k"
    template = rendered("stack.yaml", SenderAddress="a@b", Recipients="c@d", KmsKeyArn=arn, ProcessedBucketName="other")
    return {
        (statement["Sid"], action)
        for policy in ("RelayPolicy", "RunPolicy")
        for statement in template["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"]
        for action in actions_of(statement)
    }


def test_each_action_of_the_template_has_a_step_or_a_reason() -> None:
    assert allowed() == STEPS.keys() | KEPT.keys()
    assert not STEPS.keys() & KEPT.keys()


@pytest.mark.parametrize(("statement", "action"), STEPS)
def test_without_an_action_that_the_template_allows_something_is_refused(
    statement: str, action: str, request: pytest.FixtureRequest
) -> None:
    name, step = STEPS[statement, action]
    stack: Installation = request.getfixturevalue(name)
    step(stack)
    before = len(stack.aws.decisions())
    with stack.without(statement, action), pytest.raises((PermissionMissingError, ClientError, NotAbortedError)):
        step(stack)
    refused = {decision.action for decision in stack.aws.decisions(before) if not decision.allowed}
    assert {action} == refused
    step(stack)
