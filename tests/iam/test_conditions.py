"""What the templates refuse: other services, other accounts, plain HTTP, other senders and recipients, other tables."""

import json
from collections.abc import Callable
from importlib.resources import files

import pytest
from botocore.exceptions import ClientError

from blocks.domain.errors import PermissionMissingError
from deployments.aws.stack import ensure_template
from tests.iam.installation import Installation
from tests.iam.localemu import OTHER_ACCOUNT, ROOT, session_of
from tests.iam.test_each_action import ROWS, describe, landed, send_mail
from tests.support.servers import REGION

REFUSED = r"AccessDenied|\(403\)"


@pytest.mark.parametrize("role", ["relay_role_arn", "run_role_arn"])
def test_a_role_is_for_ecs_tasks_and_for_no_other_service_or_person(main: Installation, role: str) -> None:
    arn: str = getattr(main.outputs, role)
    main.aws.role_taken(arn)
    for service in ("lambda", "events", "ec2"):
        with pytest.raises(ClientError, match="AssumeRole"):
            main.aws.role_taken(arn, service)
    with pytest.raises(ClientError, match="AssumeRole"):
        main.aws.client("sts", session_of(ROOT)).assume_role(RoleArn=arn, RoleSessionName="person")


def test_relay_and_runs_cannot_do_what_the_other_does(main: Installation) -> None:
    with pytest.raises(ClientError, match=REFUSED):
        main.aws.client("sqs", main.run).receive_message(QueueUrl=main.outputs.queue_url)
    with pytest.raises(ClientError, match=REFUSED):
        main.aws.client("s3", main.relay).list_objects_v2(Bucket=main.outputs.bucket_name)


def test_a_bucket_that_another_account_has_registered_again_is_not_touched(main: Installation) -> None:
    bucket, theirs = main.outputs.bucket_name, main.aws.client("s3", session_of(OTHER_ACCOUNT))
    s3, ours = main.aws.client("s3"), main.aws.client("s3", main.run)
    for version in s3.list_object_versions(Bucket=bucket).get("Versions", []):
        assert version  # the bucket of the stack stays; the condition is tried with a bucket that its role may name
    theirs.create_bucket(Bucket="registered-again", CreateBucketConfiguration={"LocationConstraint": REGION})
    theirs.put_object(Bucket="registered-again", Key="incoming/a.csv", Body=b"")
