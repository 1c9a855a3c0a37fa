"""S3 objects: described, read, and moved so that neither a byte nor another object is lost."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from s3transfer.exceptions import S3CopyFailedError

from blocks.aws_block import AwsBlock
from blocks.domain.errors import ArchiveError, ObjectReplacedError
from blocks.domain.models import SensorFile, StoredFile

_COPY_IN_ONE_BYTES: Final = 5 * 1000**3
"""The largest object that CopyObject takes. Source: "CopyObject", Amazon S3 API reference (5 GB)."""

_IN_PARTS: Final = TransferConfig(multipart_threshold=1, multipart_chunksize=500 * 1000**2, max_concurrency=4)
_PIECE_BYTES: Final = 1024**2

_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
"""S3's codes for an object that is not there; the last is that of a HEAD, whose answer has no body.

Source: errors of GetObject, CopyObject and HeadObject, Amazon S3 API reference.
"""


class ObjectsBlock(AwsBlock):
    """Base of the blocks that stand for a bucket."""

    copy_in_one_bytes: ClassVar[int] = _COPY_IN_ONE_BYTES

    def describe(self, file: SensorFile) -> StoredFile | None:
        """The current version of the object: version id, ETag, size, age. None if the object does not exist.

        The sequencer of `file` is kept only if that is the version found.

        Raises:
            ClientError: S3 answered otherwise. The error names S3's reason, also where that of a HEAD does not.
            PermissionMissingError: S3 answered 403.
        """
        with self._naming_permission("s3", file.uri):
            try:
                head = self._client("s3").head_object(Bucket=file.bucket, Key=file.key)
            except ClientError as error:
                if _status(error) == HTTPStatus.NOT_FOUND:
                    return None
                if _status(error) == HTTPStatus.BAD_REQUEST:
                    self._ask_for_reason(file)
                raise
        found = StoredFile(
            bucket=file.bucket,
            key=file.key,
            version_id=head.get("VersionId"),
            etag=head["ETag"].strip('"'),
            size=head["ContentLength"],
            sequencer=file.sequencer,
            landed_at=head["LastModified"],
        )
        return found if found.is_version_of(file) else found.model_copy(update={"sequencer": None})

    def listed(self, file: SensorFile) -> StoredFile | None:
        """The object as a listing shows it: with ETag, size and age, also if it is encrypted with a customer's key.

        The version id of `file` is kept only if the ETag is that of `file`.
        """
        with self._naming_permission("s3", file.uri):
            found = self._client("s3").list_objects_v2(Bucket=file.bucket, Prefix=file.key, MaxKeys=1)
        for each in found.get("Contents", []):  # the first in order is the shortest: the key itself, if it exists
            if each["Key"] == file.key:
                etag = each["ETag"].strip('"')
                announced = {"version_id": file.version_id, "sequencer": file.sequencer} if etag == file.etag else {}
                return StoredFile(
                    bucket=file.bucket,
                    key=file.key,
                    etag=etag,
                    size=each["Size"],
                    landed_at=each["LastModified"],
                    **announced,
                )
        return None

    def _ask_for_reason(self, file: SensorFile) -> None:
        """Raise the error that a GET of the object meets, if any: the answer to a HEAD has no body, so no reason.

        S3 answers 400 for an object with a customer's key, and also for an expired token, which is soon renewed.
        """
        self._client("s3").get_object(Bucket=file.bucket, Key=file.key, Range="bytes=0-0")["Body"].close()

    @contextmanager
    def opened(self, file: SensorFile) -> Iterator[BinaryIO]:
        """The bytes of exactly that version, as a stream.

        Raises:
            ObjectReplacedError: it is not there any more.
        """
        with self._naming_permission("s3", file.uri), _replaced(file):
            answer = self._client("s3").get_object(Bucket=file.bucket, Key=file.key, **_exactly(file))  # type: ignore[arg-type]
        with closing(answer["Body"]) as body:
            yield cast("BinaryIO", body)

    @contextmanager
    def opened_current(self, file: SensorFile) -> Iterator[BinaryIO]:
        """The bytes of the version, as a stream, if it is the current one.

        Raises:
            ObjectReplacedError: the bucket has another version by now, or none.
        """
        with self._naming_permission("s3", file.uri), _replaced(file):
            answer = self._client("s3").get_object(Bucket=file.bucket, Key=file.key, IfMatch=file.etag or "*")
        with closing(answer["Body"]) as body:
            if file.version_id and answer.get("VersionId") != file.version_id:
                raise ObjectReplacedError(file.uri, file.version)
            yield cast("BinaryIO", body)

    def _copied(self, file: SensorFile, target: SensorFile) -> bool:
        """Whether the target holds the file's content now. An object that is already there is not overwritten.

        Raises:
            ArchiveError: the copy differs from the file.
            ObjectReplacedError: the bucket keeps no versions, and has another object by now.
        """
        if target.uri == file.uri:
            raise ArchiveError(f"{file.uri} would be moved onto itself and then deleted; it stays where it is")
        existing = self.describe(target)
        if existing:
            return self._same_content(existing, file)
        self._copy(file, target)
        copy = self.describe(target)
        if copy is None or not self._same_content(copy, file):
            raise ArchiveError(f"the copy of {file.uri} at {target.uri} is not whole; the original stays where it is")
        return True

    def _copy(self, file: SensorFile, target: SensorFile) -> bool:
        """Whether this call has copied exactly that version; not if another run wrote the target at the same time.

        Raises:
            ObjectReplacedError: it is not there any more.
        """
        source = {"Bucket": file.bucket, "Key": file.key}
        if file.version_id:
            source["VersionId"] = file.version_id
        condition = {"CopySourceIfMatch": file.etag} if file.etag else {}
        client = self._client("s3")
        with self._naming_permission("s3", f"{file.uri} or {target.uri}"), _replaced(file):
            if (file.size or 0) > self.copy_in_one_bytes:
                # boto3 copies in parts; it has no condition on the target.
                client.copy(source, target.bucket, target.key, ExtraArgs=condition, Config=_IN_PARTS)  # type: ignore[arg-type]
                return True
            try:
                client.copy_object(
                    CopySource=source,  # type: ignore[arg-type]
                    Bucket=target.bucket,
                    Key=target.key,
                    IfNoneMatch="*",
                    **condition,  # type: ignore[arg-type]
                )
            except ClientError as error:
                # One status for both conditions: the target is there, or the source is another object.
                if _status(error) != HTTPStatus.PRECONDITION_FAILED or not self.describe(target):
                    raise
                return False
        return True

    def _delete(self, file: SensorFile) -> bool:
        """Whether the object is gone now; False if a newer version has replaced it, which stays."""
        condition = {"IfMatch": file.etag} if file.etag else {}
        with self._naming_permission("s3", file.uri):
            try:
                self._client("s3").delete_object(Bucket=file.bucket, Key=file.key, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                if _status(error) == HTTPStatus.PRECONDITION_FAILED:
                    return False
                if _status(error) != HTTPStatus.NOT_FOUND:
                    raise
        return True

    def _same_content(self, existing: SensorFile, file: SensorFile) -> bool:
        """Whether both hold the same bytes.

        Equal ETags mean equal contents. Unequal ones mean nothing: the copy of an object that was uploaded in parts, or
        that KMS encrypts, has another ETag.
        """
        if existing.size != file.size or existing.etag == file.etag:
            return existing.size == file.size
        checksums = {self._checksum(existing.without_version_id()), self._checksum(file)}
        if len(checksums) == 1 and None not in checksums:
            return True
        with self.opened(existing.without_version_id()) as one, self.opened(file) as other:
            return _same_bytes(one, other)

    def _checksum(self, file: SensorFile) -> str | None:
        """The CRC-64/NVME of the whole object; None if S3 has none. A copy has the same, also one made in parts.

        Shorter checksums are not used: the file is deleted if they are equal, so a collision would lose data.
        Source: "Checking object integrity in Amazon S3", Amazon S3 user guide.
        """
        with self._naming_permission("s3", file.uri), _replaced(file):
            head = self._client("s3").head_object(
                Bucket=file.bucket,
                Key=file.key,
                ChecksumMode="ENABLED",
                **_exactly(file),  # type: ignore[arg-type]
            )
        return head.get("ChecksumCRC64NVME") if head.get("ChecksumType") == "FULL_OBJECT" else None

    def _holds(self, existing: SensorFile, content: Path) -> bool:
        if existing.size != content.stat().st_size:
            return False
        with self.opened(existing.without_version_id()) as one, content.open("rb") as other:
            return _same_bytes(one, other)


def _same_bytes(one: BinaryIO, other: BinaryIO) -> bool:
    while piece := one.read(_PIECE_BYTES):
        if piece != other.read(len(piece)):
            return False
    return True


def _exactly(file: SensorFile) -> dict[str, str]:
    """The parameters that name that version; in a bucket without versions, the condition that the object has it."""
    return {"VersionId": file.version_id} if file.version_id else {"IfMatch": file.etag or "*"}


@contextmanager
def _replaced(file: SensorFile) -> Iterator[None]:
    """Names the reason if the condition of a call does not hold, or the object is gone: the version is not there."""
    try:
        yield
    except (ClientError, S3CopyFailedError) as error:
        # boto3 raises an error of its own for a part whose source has changed.
        cause = error if isinstance(error, ClientError) else error.__context__
        if not isinstance(cause, ClientError) or not _is_about_the_version(cause):
            raise
        raise ObjectReplacedError(file.uri, file.version) from error


def _is_about_the_version(error: ClientError) -> bool:
    """Whether S3 does not have the version. A bucket that is missing has another code, unless it answers to a HEAD."""
    return _status(error) == HTTPStatus.PRECONDITION_FAILED or error.response["Error"]["Code"] in _GONE


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
