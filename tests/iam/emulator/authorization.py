"""The permissions that the calls of this project need in AWS, for localemu to decide on.

It runs in the virtual environment of localemu. localemu 1.3.2 decides by itself who calls, and whether policies allow a
permission: principals, Allow and Deny, resources, conditions, policies of roles, buckets and queues. Which permissions
a call needs it does not always know; for the calls of this project, they are here. `docs/security.md` has the
differences.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote

from localemu.constants import AWS_REGION_US_EAST_1
from localemu.services.iam_enforcement import enforcer, service_action_map
from localemu.services.s3.models import s3_stores
from localemu.services.s3.utils import get_unique_key_id

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Needed:
    """One permission that a call needs, with what conditions may ask for."""

    action: str
    resource: str
    conditions: Mapping[str, Any] = field(default_factory=dict)


_needed: ContextVar[Needed | None] = ContextVar("needed", default=None)
"""The permission that is decided on; None for a call of which localemu decides alone."""


# ---- S3. Sources: "Required permissions for Amazon S3 API operations" and "Enforce conditional deletes on Amazon S3
# buckets", Amazon S3 user guide; "GetObject", "CopyObject", Amazon S3 API reference.


def _bucket(name: str) -> Any:
    owner = s3_stores["000000000000"][AWS_REGION_US_EAST_1].global_bucket_map.get(name)
    return s3_stores[owner][AWS_REGION_US_EAST_1].buckets.get(name) if owner else None


def _s3(action: str, bucket: str, key: str = "") -> Needed:
    found = _bucket(bucket)
    owner = {"aws:ResourceAccount": found.bucket_account_id} if found else {}
    return Needed(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}".removesuffix("/" if not key else ""), owner)


def _read(bucket: str, key: str, version: str | None) -> Iterator[Needed]:
    """To read a version takes another action than to read an object; to learn that it is not there takes a third."""
    yield _s3("GetObjectVersion" if version else "GetObject", bucket, key)
    if not _exists(bucket, key, version):
        yield _s3("ListBucket", bucket)


def _exists(bucket: str, key: str, version: str | None) -> bool:
    found = _bucket(bucket)
    stored = found and (found.objects.get(key, version) if version else found.objects.get(key))
    return type(stored).__name__ == "S3Object"


def _get(request: Request) -> Iterator[Needed]:
    yield from _read(request["Bucket"], request["Key"], request.get("VersionId"))


def _copy_source(request: Request) -> tuple[str, str, str | None]:
    source, _, version = request["CopySource"].partition("?versionId=")
    bucket, _, key = unquote(source).lstrip("/").partition("/")
    return bucket, key, version or None


def _copy(request: Request) -> Iterator[Needed]:
    bucket, key, version = _copy_source(request)
    yield from _read(bucket, key, version)
    yield _s3("PutObject", request["Bucket"], request["Key"])
    if request.get("TaggingDirective") != "REPLACE" and _tags(bucket, key, version):
        yield _s3("GetObjectVersionTagging" if version else "GetObjectTagging", bucket, key)
        yield _s3("PutObjectTagging", request["Bucket"], request["Key"])


def _tags(bucket: str, key: str, version: str | None) -> bool:
    found = _bucket(bucket)
    stored = found and (found.objects.get(key, version) if version else found.objects.get(key))
    store = s3_stores[found.bucket_account_id][found.bucket_region] if found else None
    version_id = getattr(stored, "version_id", None)
    return bool(store and store.tags.get_tags(get_unique_key_id(bucket, key, version_id)))


def _copy_part(request: Request) -> Iterator[Needed]:
    yield from _read(*_copy_source(request))
    yield _s3("PutObject", request["Bucket"], request["Key"])


def _put(request: Request) -> Iterator[Needed]:
    yield _s3("PutObject", request["Bucket"], request["Key"])
    if request.get("Tagging"):
        yield _s3("PutObjectTagging", request["Bucket"], request["Key"])


def _delete(request: Request) -> Iterator[Needed]:
    yield _s3("DeleteObjectVersion" if request.get("VersionId") else "DeleteObject", request["Bucket"], request["Key"])
    if request.get("IfMatch") not in (None, "*"):
        yield _s3("GetObject", request["Bucket"], request["Key"])


def _abort(request: Request) -> Iterator[Needed]:
    yield _s3("AbortMultipartUpload", request["Bucket"], request["Key"])


def _list(request: Request) -> Iterator[Needed]:
    yield _s3("ListBucket", request["Bucket"])


# ---- DynamoDB. Sources: "Actions, resources, and condition keys for Amazon DynamoDB", Service Authorization Reference;
# "Using IAM with DynamoDB transactions" and "Using secondary indexes" (permissions), DynamoDB developer guide.

_ACTION_OF_WRITE: Final = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


def _dynamodb(action: str, table: str) -> Needed:
    return Needed(f"dynamodb:{action}", f"arn:aws:dynamodb:{_region.get()}:000000000000:table/{table}")


def _tables_of(action: str) -> Callable[[Request], Iterator[Needed]]:
    return lambda request: (_dynamodb(action, table) for table in request["RequestItems"])


def _transact(request: Request) -> Iterator[Needed]:
    for each in request["TransactItems"]:
        for kind, write in each.items():
            yield _dynamodb(_ACTION_OF_WRITE[kind], write["TableName"])


def _query(request: Request) -> Iterator[Needed]:
    index = f"/index/{request['IndexName']}" if request.get("IndexName") else ""
    yield _dynamodb("Query", request["TableName"] + index)


# ---- SES. Sources: "Actions, resources, and condition keys for Amazon Simple Email Service v2", Service Authorization
# Reference. That a raw message needs SendRawEmail is said by errors of AWS, in the issues aws-actionmailer-ses-ruby #10
# and nodemailer #1734.


def _send(request: Request) -> Iterator[Needed]:
    sender, destination = request["FromEmailAddress"], request.get("Destination") or {}
    recipients = [address for addresses in destination.values() for address in addresses]
    action = "SendRawEmail" if request["Content"].get("Raw") else "SendEmail"
    resource = f"arn:aws:ses:{_region.get()}:000000000000:identity/{sender}"
    yield Needed(f"ses:{action}", resource, {"ses:FromAddress": sender, "ses:Recipients": recipients})


CALLS: Final[Mapping[tuple[str, str], Callable[[Request], Iterator[Needed]]]] = {
    ("s3", "HeadObject"): _get,
    ("s3", "GetObject"): _get,
    ("s3", "CopyObject"): _copy,
    ("s3", "UploadPartCopy"): _copy_part,
    ("s3", "PutObject"): _put,
    ("s3", "CreateMultipartUpload"): _put,
    ("s3", "UploadPart"): _put,
    ("s3", "CompleteMultipartUpload"): _put,
    ("s3", "AbortMultipartUpload"): _abort,
    ("s3", "DeleteObject"): _delete,
    ("s3", "ListObjectsV2"): _list,
    ("dynamodb", "BatchGetItem"): _tables_of("BatchGetItem"),
    ("dynamodb", "BatchWriteItem"): _tables_of("BatchWriteItem"),
    ("dynamodb", "TransactWriteItems"): _transact,
    ("dynamodb", "Query"): _query,
    ("sesv2", "SendEmail"): _send,
}
"""The permissions that calls need. localemu decides of all others by its own table."""

_region: ContextVar[str] = ContextVar("region", default="")


def decide_as_aws() -> None:
    """Have localemu decide on each permission that a call needs, one after the other."""
    decide = enforcer.IAMEnforcementHandler.__call__
    action_of, resource_of, conditions_of = (
        service_action_map.map_action,
        enforcer.build_resource_arn,
        enforcer._build_conditions,
    )

    def decide_on_each(handler: Any, chain: Any, context: Any, response: Any) -> None:
        needed = CALLS.get((context.service.service_name, context.operation.name)) if context.operation else None
        if needed is None:
            decide(handler, chain, context, response)
            return
        _region.set(context.region)
        for each in needed(context.service_request):
            token = _needed.set(each)
            try:
                decide(handler, chain, context, response)
            finally:
                _needed.reset(token)

    def action(service: str, operation: str) -> list[str]:
        needed = _needed.get()
        return [needed.action] if needed else action_of(service, operation)

    def resource(**call: Any) -> str:
        needed = _needed.get()
        return needed.resource if needed else resource_of(**call)

    def conditions(context: Any, caller: Any) -> dict[str, Any]:
        needed = _needed.get()
        return {**conditions_of(context, caller), **(needed.conditions if needed else {})}

    enforcer.IAMEnforcementHandler.__call__ = decide_on_each
    service_action_map.map_action = action
    enforcer.build_resource_arn = resource
    enforcer._build_conditions = conditions


def note_decisions(path: Path) -> None:
    """From now on, each decision about a role is a line of JSON in that file."""
    evaluate, lock = enforcer.PolicyEvaluator.evaluate, Lock()

    def noted(evaluator: Any, *, caller: Any, action: str, resource: str, **more: Any) -> Any:
        decision = evaluate(evaluator, caller=caller, action=action, resource=resource, **more)
        is_allowed = decision is enforcer.Decision.ALLOW
        line = {"role": caller.role_name, "action": action, "resource": resource, "allowed": is_allowed}
        with lock, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return decision

    enforcer.PolicyEvaluator.evaluate = noted
