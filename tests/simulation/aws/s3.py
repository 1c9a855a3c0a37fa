"""A fake of S3: buckets with and without versions, conditions on reads, copies and deletions, and listings.

Known differences: listings have no delimiter, and a copy in parts is one step.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus
from io import BytesIO
from typing import Any, BinaryIO, ClassVar, Final

from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from urllib3.exceptions import ProtocolError

from tests.simulation.aws.service import Client, FakeService
from tests.simulation.network import Deferred, Network

_PRECONDITION: Final = "At least one of the pre-conditions you specified did not hold"
PAGE_KEYS: Final = 1000
"""Source: "ListObjectsV2", Amazon S3 API reference."""


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker."""

    key: str
    version_id: str | None
    content: bytes
    etag: str
    landed_at: datetime
    sequencer: str
    is_marker: bool = False


@dataclass
class Bucket:
    """A bucket: the versions of each key, the newest last."""

    name: str
    versioned: bool
    versions: dict[str, list[Version]] = field(default_factory=dict)
    on_created: list[Callable[[str, Version], object]] = field(default_factory=list)
    """Called with the bucket's name and the version, when an object is created."""
    on_deleted: list[Callable[[Version], object]] = field(default_factory=list)
    """Called with the version that was the current one, when an object is deleted."""

    def current(self, key: str) -> Version | None:
        """The newest version; None if there is none or it is a delete marker."""
        versions = self.versions.get(key)
        return versions[-1] if versions and not versions[-1].is_marker else None

    def find(self, key: str, version_id: str) -> Version | None:
        """The version with that id."""
        return next((each for each in self.versions.get(key, ()) if each.version_id == version_id), None)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all current objects, in their order."""
        return sorted(key for key in self.versions if key.startswith(prefix) and self.current(key))

    def add(self, version: Version) -> None:
        """Make it the current version."""
        if self.versioned:
            self.versions.setdefault(version.key, []).append(version)
        elif version.is_marker:
            self.versions.pop(version.key, None)
        else:
            self.versions[version.key] = [version]

    def remove(self, key: str, version_id: str) -> None:
        """Delete that version for ever."""
        left = [each for each in self.versions.get(key, ()) if each.version_id != version_id]
        if left:
            self.versions[key] = left
        else:
            self.versions.pop(key, None)


class S3Client(Client):
    """With the methods of boto3 that make several calls."""

    def upload_fileobj(
        self,
        Fileobj: BinaryIO,  # noqa: N803 - boto3's name
        Bucket: str,  # noqa: N803 - as above
        Key: str,  # noqa: N803 - as above
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803 - as above
    ) -> None:
        self.put_object(Bucket=Bucket, Key=Key, Body=Fileobj.read(), **(ExtraArgs or {}))

    def copy(
        self,
        CopySource: Mapping[str, str],  # noqa: N803 - as above
        Bucket: str,  # noqa: N803 - as above
        Key: str,  # noqa: N803 - as above
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803 - as above
        Config: object = None,  # noqa: ARG002, N803 - as above; a copy of small objects has one part
    ) -> None:
        self.copy_object(CopySource=CopySource, Bucket=Bucket, Key=Key, **(ExtraArgs or {}))


class S3(FakeService):
    """Buckets in memory."""

    name = "s3"
    client_class = S3Client
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {
        "head_object": frozenset({"Bucket", "Key", "VersionId", "IfMatch", "ChecksumMode"}),
        "get_object": frozenset({"Bucket", "Key", "VersionId", "IfMatch"}),
        "put_object": frozenset({"Bucket", "Key", "Body", "IfMatch", "IfNoneMatch", "ContentType", "Metadata"}),
        "copy_object": frozenset({"Bucket", "Key", "CopySource", "CopySourceIfMatch", "IfNoneMatch"}),
        "delete_object": frozenset({"Bucket", "Key", "VersionId", "IfMatch"}),
        "list_objects_v2": frozenset({"Bucket", "Prefix", "MaxKeys", "ContinuationToken", "StartAfter"}),
    }
    paginated: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list_objects_v2": ("ContinuationToken", "NextContinuationToken")
    }

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.buckets: dict[str, Bucket] = {}
        self._created = 0

    def create_bucket(self, name: str, *, versioned: bool = True) -> Bucket:
        self.buckets[name] = Bucket(name, versioned)
        return self.buckets[name]

    # ---- Reads ----------------------------------------------------------------------------------------------------

    def head_object(self, call: Mapping[str, Any]) -> dict[str, Any]:
        found = self._found("head_object", call)
        checksum = {}
        if call.get("ChecksumMode") == "ENABLED":
            checksum = {"ChecksumCRC64NVME": _checksum(found.content), "ChecksumType": "FULL_OBJECT"}
        return self.answer(**_described(found), **checksum)

    def get_object(self, call: Mapping[str, Any]) -> dict[str, Any]:
        found = self._found("get_object", call)
        size = len(found.content)
        return self.answer(**_described(found), Body=StreamingBody(self._stream(found.content), size))

    def list_objects_v2(self, call: Mapping[str, Any]) -> dict[str, Any]:
        bucket = self._bucket("list_objects_v2", call["Bucket"])
        start = call.get("ContinuationToken") or call.get("StartAfter", "")
        keys = [key for key in bucket.keys(call.get("Prefix", "")) if key > start]
        page = keys[: call.get("MaxKeys", PAGE_KEYS)]
        more: dict[str, Any] = {"IsTruncated": len(page) < len(keys)}
        if more["IsTruncated"]:
            more["NextContinuationToken"] = page[-1]
        if page:
            more["Contents"] = [_listed(found) for key in page if (found := bucket.current(key))]
        return self.answer(Name=bucket.name, Prefix=call.get("Prefix", ""), KeyCount=len(page), **more)

    def _found(self, operation: str, call: Mapping[str, Any]) -> Version:
        bucket, key = self._bucket(operation, call["Bucket"]), call["Key"]
        if version_id := call.get("VersionId"):
            found = bucket.find(key, version_id)
            if found and found.is_marker:
                raise self._refusal(operation, "MethodNotAllowed", HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            found = bucket.current(key)
        if found is None:
            raise self._refusal(operation, "NoSuchVersion" if version_id else "NoSuchKey", HTTPStatus.NOT_FOUND)
        if not _matches(found, call.get("IfMatch")):
            raise self._refusal(operation, "PreconditionFailed", HTTPStatus.PRECONDITION_FAILED)
        return found

    def _stream(self, content: bytes) -> Any:  # noqa: ANN401 - what botocore reads from
        rate = 0.0 if self.network.direct else self.network.faults.rates.get("answer lost", 0.0)
        return BrokenStream(content[: len(content) // 2]) if self.random.random() < rate else BytesIO(content)

    # ---- Writes ---------------------------------------------------------------------------------------------------

    def put_object(self, call: Mapping[str, Any]) -> dict[str, Any]:
        bucket, key, body = self._bucket("put_object", call["Bucket"]), call["Key"], call.get("Body", b"")
        self._check_target("put_object", bucket.current(key), call)
        content = body.encode() if isinstance(body, str) else bytes(body) if isinstance(body, bytes) else body.read()
        return self.answer(**_stored(self._create(bucket, key, content)))

    def copy_object(self, call: Mapping[str, Any]) -> dict[str, Any] | Deferred:
        """The source is read when the call arrives, the target written a little later."""
        source = _source(call["CopySource"])
        try:
            found = self._found("copy_object", source)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise self._refusal("copy_object", error.response["Error"]["Code"], status) from error
        if not _matches(found, call.get("CopySourceIfMatch")):
            raise self._refusal("copy_object", "PreconditionFailed", HTTPStatus.PRECONDITION_FAILED)
        bucket = self._bucket("copy_object", call["Bucket"])
        before = bucket.current(call["Key"])
        self._check_target("copy_object", before, call)
        return self.after(0.5 * self.random.random() ** 4, partial(self._copied, call, bucket, found, before))

    def _copied(self, call: Mapping[str, Any], bucket: Bucket, source: Version, before: Version | None) -> Any:  # noqa: ANN401 - an answer
        current = bucket.current(call["Key"])
        if current is not before and "IfNoneMatch" in call:
            # Source: "Conditional writes", Amazon S3 user guide: another write during the call may end it with 409.
            if self.random.random() < 0.5:
                raise self._refusal("copy_object", "ConditionalRequestConflict", HTTPStatus.CONFLICT)
            self._check_target("copy_object", current, call)
        copy = self._create(bucket, call["Key"], source.content)
        result = {"ETag": copy.etag, "LastModified": copy.landed_at}
        versions = {"CopySourceVersionId": source.version_id, "VersionId": copy.version_id}
        present = {name: value for name, value in versions.items() if value}
        return self.answer(CopyObjectResult=result, **present)

    def delete_object(self, call: Mapping[str, Any]) -> dict[str, Any]:
        bucket, key = self._bucket("delete_object", call["Bucket"]), call["Key"]
        if version_id := call.get("VersionId"):
            bucket.remove(key, version_id)
            return self.answer(HTTPStatus.NO_CONTENT, VersionId=version_id)
        current = bucket.current(key)
        if "IfMatch" in call:
            if current is None:
                raise self._refusal("delete_object", "NoSuchKey", HTTPStatus.NOT_FOUND)
            if not _matches(current, call["IfMatch"]):
                raise self._refusal("delete_object", "PreconditionFailed", HTTPStatus.PRECONDITION_FAILED)
        marker = self._version(bucket, key, b"", is_marker=True)
        bucket.add(marker)
        if current:
            for watch in bucket.on_deleted:
                watch(current)
        answer = {"DeleteMarker": True, "VersionId": marker.version_id} if bucket.versioned else {}
        return self.answer(HTTPStatus.NO_CONTENT, **answer)

    def _create(self, bucket: Bucket, key: str, content: bytes) -> Version:
        version = self._version(bucket, key, content)
        bucket.add(version)
        for announce in bucket.on_created:
            announce(bucket.name, version)
        return version

    def _version(self, bucket: Bucket, key: str, content: bytes, *, is_marker: bool = False) -> Version:
        self._created += 1
        # Ids of versions say nothing about their order.
        version_id = f"{self.random.getrandbits(20):05x}v{self._created}" if bucket.versioned else None
        etag = "" if is_marker else f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        landed_at = self.scheduler.true_time.replace(microsecond=0)
        return Version(key, version_id, content, etag, landed_at, f"{self._created:016X}", is_marker)

    def _check_target(self, operation: str, current: Version | None, call: Mapping[str, Any]) -> None:
        if "IfNoneMatch" in call and current:
            raise self._refusal(operation, "PreconditionFailed", HTTPStatus.PRECONDITION_FAILED)
        if "IfMatch" in call and current is None:
            raise self._refusal(operation, "NoSuchKey", HTTPStatus.NOT_FOUND)
        if current and not _matches(current, call.get("IfMatch")):
            raise self._refusal(operation, "PreconditionFailed", HTTPStatus.PRECONDITION_FAILED)

    def _bucket(self, operation: str, name: str) -> Bucket:
        if name not in self.buckets:
            raise self._refusal(operation, "NoSuchBucket", HTTPStatus.NOT_FOUND)
        return self.buckets[name]

    def _refusal(self, operation: str, code: str, status: int) -> ClientError:
        if operation == "head_object":  # its answer has no body, so botocore knows only the status
            return self.error(operation, str(int(status)), HTTPStatus(status).phrase, status)
        message = _PRECONDITION if code == "PreconditionFailed" else HTTPStatus(status).phrase
        return self.error(operation, code, message, status)


class BrokenStream(BytesIO):
    """The bytes of an object whose connection breaks: after them comes an error instead of the end."""

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if piece:
            return piece
        raise ProtocolError("simulated: the connection broke")


def _source(source: str | Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(source, str):
        return source
    bucket, _, rest = source.partition("/")
    key, _, version_id = rest.partition("?versionId=")
    return {"Bucket": bucket, "Key": key, **({"VersionId": version_id} if version_id else {})}


def _matches(version: Version, etag: str | None) -> bool:
    return etag is None or etag == "*" or etag.strip('"') == version.etag.strip('"')


def _described(version: Version) -> dict[str, Any]:
    described = {
        "ContentLength": len(version.content),
        "ETag": version.etag,
        "LastModified": version.landed_at,
        "ContentType": "binary/octet-stream",
        "Metadata": {},
    }
    return described | ({"VersionId": version.version_id} if version.version_id else {})


def _stored(version: Version) -> dict[str, Any]:
    return {"ETag": version.etag} | ({"VersionId": version.version_id} if version.version_id else {})


def _listed(version: Version) -> dict[str, Any]:
    size = len(version.content)
    return {"Key": version.key, "LastModified": version.landed_at, "ETag": version.etag, "Size": size}


def _checksum(content: bytes) -> str:
    """Eight bytes that depend on the content, in the place of CRC-64/NVME."""
    return b64encode(hashlib.blake2b(content, digest_size=8).digest()).decode()
