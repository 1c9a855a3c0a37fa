"""What the templates refuse: other services, other accounts, plain HTTP, other senders and recipients, other tables."""

from importlib.resources import files

import pytest
from botocore.exceptions import ClientError

from blocks.domain.errors import PermissionMissingError
from deployments.aws.stack import apply_template
from tests.iam.installation import Installation, installed
from tests.iam.localemu import OTHER_ACCOUNT, ROOT, Localemu, session_of
from tests.iam.test_each_action import ROWS, archive, landed
from tests.support.servers import REGION

REFUSED = r"AccessDenied|\(403\)"


@pytest.mark.parametrize("role", ["relay_role_arn", "run_role_arn"])
def test_a_role_is_for_ecs_tasks_and_for_no_other_service_or_person(main: Installation, role: str) -> None:
    arn: str = getattr(main.outputs, role)
    main.aws.role_taken(arn)
    for service in ("lambda", "events", "ec2"):
        with pytest.raises(ClientError, match=REFUSED):
            main.aws.role_taken(arn, service)
    with pytest.raises(ClientError, match=REFUSED):
        main.aws.client("sts", session_of(ROOT)).assume_role(RoleArn=arn, RoleSessionName="person")


def test_relay_and_runs_cannot_do_what_the_other_does(main: Installation) -> None:
    with pytest.raises(ClientError, match=REFUSED):
        main.aws.client("sqs", main.run).receive_message(QueueUrl=main.outputs.queue_url)
    with pytest.raises(ClientError, match=REFUSED):
        main.aws.client("s3", main.relay).list_objects_v2(Bucket=main.outputs.bucket_name)


def test_requests_without_tls_are_refused_by_bucket_and_queue(main: Installation) -> None:
    file, url = landed(main), main.outputs.queue_url

    def ask(*, tls: bool) -> None:
        main.aws.client("s3", main.run, tls=tls).head_object(Bucket=file.bucket, Key=file.key)

    def count(*, tls: bool) -> None:
        main.aws.client("sqs", main.relay, tls=tls).get_queue_attributes(QueueUrl=url)

    for call in (ask, count):
        call(tls=True)
        with pytest.raises(ClientError, match=REFUSED):
            call(tls=False)


def test_a_bucket_that_another_account_has_registered_again_gets_no_file(localemu: Localemu) -> None:
    theirs = localemu.client("s3", session_of(OTHER_ACCOUNT))
    theirs.create_bucket(Bucket="registered-again", CreateBucketConfiguration={"LocationConstraint": REGION})
    landing = installed(localemu, "landing-elsewhere", ExistingBucketName="registered-again")
    with pytest.raises(PermissionMissingError, match="s3:ListBucket"):
        list(landing.zone.under("incoming/"))
    archiving = installed(localemu, "archive-elsewhere", ProcessedBucketName="registered-again")
    with pytest.raises(PermissionMissingError, match="registered-again/processed/"):
        archive(archiving)


def test_runs_send_mail_as_one_sender_and_to_recipients_of_the_patterns(
    main: Installation, existing: Installation
) -> None:
    main.aws.client("sesv2").create_email_identity(EmailIdentity="other@example.com")
    main.mailer.send("subject", "text", recipients=["eve@example.org"])
    existing.mailer.send("subject", "text", recipients=["ada@example.com"])
    for stack, changes, recipients in (
        (main, {"sender": "other@example.com"}, ["ada@example.com"]),
        (existing, {}, ["eve@example.org"]),
        (existing, {}, ["ada@example.com", "eve@example.org"]),
    ):
        with pytest.raises(PermissionMissingError, match="ses:SendEmail and ses:SendRawEmail"):
            stack.mailer.model_copy(update=changes).send("subject", "text", recipients=recipients)


def test_the_stack_of_a_feed_lets_runs_store_rows_in_its_table(main: Installation) -> None:
    table = main.table.model_copy(update={"table_name": "rows-of-a-feed"})
    key = {"PartitionKey": "sensor_id", "PartitionKeyType": "S", "SortKey": "timestamp"}
    parameters = {"IngestStack": main.name, "TableName": "rows-of-a-feed", **key}
    with pytest.raises(PermissionMissingError, match="dynamodb:BatchWriteItem"):
        table.write([ROWS])
    template = files("deployments").joinpath("aws", "feed.yaml")
    apply_template(main.aws.client("cloudformation"), "feed", parameters, template)
    assert 1 == table.write([ROWS])
