"""Checks of the bucket: existence, versioning, notifications, TLS, permissions of runs."""

import json
import shlex
import uuid
from functools import partial
from http import HTTPStatus
from typing import Final

from botocore.exceptions import ClientError

from blocks.landing_zone import LandingZone
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem

_DEPLOY_STACK: Final = "deploy deployments/aws/stack.yaml again (`aws cloudformation deploy`)"
_NO_BUCKET: Final = frozenset({"404", "NoSuchBucket"})
_NO_ETAG: Final = '"sensor-ingest-doctor"'
_NO_OBJECT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED})
"""S3's answers if the object does not exist. Source: "Conditional deletes", Amazon S3 user guide."""


def _zone(system: InspectedSystem) -> LandingZone:
    """The saved landing zone; if none is saved, the one that `deploy` would save."""
    saved = system.blocks.get(LandingZone)
    if isinstance(saved, LandingZone):
        return saved
    outputs = system.outputs
    return LandingZone(
        bucket=outputs.bucket_name, incoming_prefix=outputs.incoming_prefix, target_bucket=outputs.target_bucket
    )


def exists(system: InspectedSystem) -> CheckResult:
    """The bucket that files arrive in and the one that they move to exist."""
    zone = _zone(system)
    client = system.client_of(LandingZone, "s3")
    for name in dict.fromkeys([zone.bucket, zone.target_bucket or zone.bucket]):
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_BUCKET:
                raise
            remedy = f"{_DEPLOY_STACK}, then `sensor-ingest deploy`; in another region, set AWS_DEFAULT_REGION"
            return problem(f"the bucket {name} does not exist", remedy)
    return ok(f"{zone.bucket}, files move to {zone.target_bucket or zone.bucket}")


def versioning(system: InspectedSystem) -> CheckResult:
    """Versioning is enabled; without it only the ETag shows that a file was replaced during its load."""
    name = _zone(system).bucket
    status = system.client_of(LandingZone, "s3").get_bucket_versioning(Bucket=name).get("Status", "never enabled")
    if status != "Enabled":
        remedy = f"aws s3api put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled"
        return warning(f"versioning is {status}, so an overwritten file is lost", remedy)
    return ok("enabled")


def eventbridge(system: InspectedSystem) -> CheckResult:
    """The bucket notifies EventBridge; without that an uploaded file waits for the next sweep."""
    name = _zone(system).bucket
    found = system.client_of(LandingZone, "s3").get_bucket_notification_configuration(Bucket=name)
    if "EventBridgeConfiguration" not in found:
        remedy = (
            f"aws s3api put-bucket-notification-configuration --bucket {name} "
            "--notification-configuration '{\"EventBridgeConfiguration\": {}}' (it replaces the other notifications)"
        )
        return problem("the bucket does not notify EventBridge, so uploads start no run before the next sweep", remedy)
    return ok("the bucket notifies EventBridge")


def policy(system: InspectedSystem) -> CheckResult:
    """The policy of the bucket refuses requests without TLS, as that of the template does."""
    name, client = _zone(system).bucket, system.client_of(LandingZone, "s3")
    try:
        found = json.loads(client.get_bucket_policy(Bucket=name)["Policy"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
        found = {"Version": "2012-10-17", "Statement": []}
    without_tls = {"Bool": {"aws:SecureTransport": "false"}}
    if any(each["Effect"] == "Deny" and each.get("Condition") == without_tls for each in found["Statement"]):
        return ok("requests without TLS are refused")
    arn = f"arn:{client.meta.partition}:s3:::{name}"
    refusal = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Condition": without_tls}
    wanted = {**found, "Statement": [*found["Statement"], {**refusal, "Resource": [arn, f"{arn}/*"]}]}
    remedy = f"aws s3api put-bucket-policy --bucket {name} --policy {shlex.quote(json.dumps(wanted))}"
    return warning("the bucket accepts requests without TLS", remedy)


def access(system: InspectedSystem) -> CheckResult:
    """Runs may list, read, delete and write; the check tries it on an object that does not exist and changes nothing.

    S3 checks the permission first, then the condition IfMatch, which fails for an object that does not exist. (A delete
    without a condition would leave a delete marker.)
    """
    zone = _zone(system)
    client = system.client_of(LandingZone, "s3")
    name = f"sensor-ingest-doctor-{uuid.uuid4()}"
    incoming = {"Bucket": zone.bucket, "Key": f"{zone.incoming_prefix}{name}"}
    rejects = {"Bucket": zone.bucket, "Key": f"{zone.rejects_prefix}{name}"}
    client.list_objects_v2(Bucket=zone.bucket, Prefix=zone.incoming_prefix, MaxKeys=1)
    for attempt in (
        partial(client.get_object, **incoming),
        partial(client.delete_object, **incoming, IfMatch=_NO_ETAG),
        partial(client.put_object, **rejects, Body=b"", IfMatch=_NO_ETAG),
    ):
        try:
            attempt()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _NO_OBJECT:
                raise
    return ok(f"listing, reading and deleting under {zone.incoming_prefix}, writing under {zone.rejects_prefix}")


CHECKS: Final = (
    Check("bucket", exists, ("stack",)),
    Check("bucket versioning", versioning, ("bucket",)),
    Check("bucket events", eventbridge, ("bucket",)),
    Check("bucket policy", policy, ("bucket",)),
    Check("bucket access", access, ("bucket",)),
)
