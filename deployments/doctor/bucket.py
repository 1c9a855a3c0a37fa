"""The bucket: there, versioned, announcing what arrives, and open to what runs do there."""

import uuid
from functools import partial
from http import HTTPStatus
from typing import Final

from botocore.exceptions import ClientError

from blocks.landing_zone import LandingZone
from deployments.doctor.findings import Check, Verdict, ok, problem, warning
from deployments.doctor.system import World

_DEPLOY_STACK: Final = "`aws cloudformation deploy` of deployments/aws/stack.yaml again"
_GONE: Final = frozenset({"404", "NoSuchBucket"})
_NO_ETAG: Final = '"sensor-ingest-doctor"'
_NOT_THERE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED})
"""How S3 says that no such object is there. Source: "Conditional deletes", Amazon S3 user guide."""


def _zone(world: World) -> LandingZone:
    """The landing zone as it is saved; where none is, as the stack would have it."""
    saved = world.blocks.get(LandingZone)
    if isinstance(saved, LandingZone):
        return saved
    outputs = world.outputs
    return LandingZone(
        bucket=outputs.bucket_name, incoming_prefix=outputs.incoming_prefix, target_bucket=outputs.target_bucket
    )


def exists(world: World) -> Verdict:
    """The bucket that files land in, and the one that they move to."""
    zone = _zone(world)
    client = world.client_of(LandingZone, "s3")
    for name in dict.fromkeys([zone.bucket, zone.target_bucket or zone.bucket]):
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            remedy = f"{_DEPLOY_STACK}, then `sensor-ingest deploy`; in another region, set AWS_DEFAULT_REGION"
            return problem(f"there is no bucket {name}", remedy)
    return ok(f"{zone.bucket}, moved to {zone.target_bucket or zone.bucket}")


def versioning(world: World) -> Verdict:
    """Versions, without which a file that is replaced while it is loaded is told apart by its ETag alone."""
    name = _zone(world).bucket
    status = world.client_of(LandingZone, "s3").get_bucket_versioning(Bucket=name).get("Status", "never enabled")
    if status != "Enabled":
        remedy = f"aws s3api put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled"
        return warning(f"versioning is {status}, so a file that is overwritten is gone", remedy)
    return ok("enabled")


def eventbridge(world: World) -> Verdict:
    """Notifications to EventBridge, without which a file that is uploaded starts nothing before the next sweep."""
    name = _zone(world).bucket
    found = world.client_of(LandingZone, "s3").get_bucket_notification_configuration(Bucket=name)
    if "EventBridgeConfiguration" not in found:
        remedy = (
            f"aws s3api put-bucket-notification-configuration --bucket {name} "
            "--notification-configuration '{\"EventBridgeConfiguration\": {}}' (it replaces what else is configured)"
        )
        return problem("EventBridge is not told of uploads, so they start nothing", remedy)
    return ok("EventBridge is told of uploads")


def access(world: World) -> Verdict:
    """Listing, reading, deleting and writing where runs do, without a trace: of an object that is not there.

    S3 looks at the permission first. Then it refuses to delete or to replace, on the condition that it is a certain
    object, what does not exist. (A deletion without a condition would leave a delete marker.)
    """
    zone = _zone(world)
    client = world.client_of(LandingZone, "s3")
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
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _NOT_THERE:
                raise
    return ok(f"listing, reading and deleting under {zone.incoming_prefix}, writing under {zone.rejects_prefix}")


CHECKS: Final = (
    Check("bucket", exists, ("stack",)),
    Check("bucket versioning", versioning, ("bucket",)),
    Check("bucket events", eventbridge, ("bucket",)),
    Check("bucket access", access, ("bucket",)),
)
