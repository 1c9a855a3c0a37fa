"""The bucket: where files land, and where they go when they are dealt with."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from pydantic import Field, HttpUrl

from blocks.aws import DOCUMENTATION_URL, LOGO_URL, AwsBlock
from flows.errors import ArchiveError
from flows.keys import REJECTS_SUFFIX, moved_key, s3_uri, versioned_key
from flows.models import SensorFile

# CopyObject takes objects up to 5 GB; above that boto3 copies in parts.
# Source: "CopyObject", Amazon S3 API reference.
_COPY_IN_ONE = TransferConfig(multipart_threshold=5 * 1000**3, max_concurrency=4)


class LandingZone(AwsBlock):
    """The bucket that files land in, and the prefixes that say how far each has come.

    Example:
        Where is a file of this landing zone archived?
        ```python
        from blocks.landing_zone import LandingZone

        landing_zone = LandingZone.load("BLOCK_NAME")
        print(landing_zone.processed_prefix)
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor landing zone"
    _block_type_slug: ClassVar[str] = "sensor-landing-zone"
    _description: ClassVar[str] = "The bucket that sensor files land in, and where they go when they are dealt with."
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION_URL
    _logo_url: ClassVar[HttpUrl | None] = LOGO_URL

    bucket: str = Field(min_length=3, description="Bucket that files land in.")
    target_bucket: str | None = Field(
        default=None, description="Bucket that loaded files move to; left empty, they stay in the same bucket."
    )
    incoming_prefix: str = Field(default="incoming/", description="Prefix of files that wait to be loaded.")
    processed_prefix: str = Field(default="processed/", description="Prefix of files whose rows are in the table.")
    refused_prefix: str = Field(default="refused/", description="Prefix of files over the reject limit or unreadable.")
    failed_prefix: str = Field(default="failed/", description="Prefix of files that failed too often to try again.")
    rejects_prefix: str = Field(default="rejects/", description="Prefix of the rows that were refused, and why.")

    def describe(self, file: SensorFile) -> SensorFile | None:
        """The object as S3 has it now: version, ETag, size. None where no such object exists.

        Raises:
            PermissionMissingError: S3 answered 403.
        """
        with self._naming_permission("s3", file.uri):
            try:
                head = self._client("s3").head_object(Bucket=file.bucket, Key=file.key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
                    return None
                raise
        return file.model_copy(
            update={
                "version_id": head.get("VersionId"),
                "etag": head["ETag"].strip('"'),
                "size": head["ContentLength"],
            }
        )

    @contextmanager
    def opened(self, file: SensorFile) -> Iterator[BinaryIO]:
        """The bytes of exactly that version, as they come; nothing is held in memory."""
        version = {"VersionId": file.version_id} if file.version_id else {"IfMatch": file.etag or "*"}
        with self._naming_permission("s3", file.uri):
            answer = self._client("s3").get_object(Bucket=file.bucket, Key=file.key, **version)  # type: ignore[arg-type]
        with closing(answer["Body"]) as body:
            yield cast("BinaryIO", body)

    def archive(self, file: SensorFile) -> str:
        """The address under `processed/` that the file is at now; it is gone from `incoming/`."""
        return self._move(file, self.target_bucket or self.bucket, self.processed_prefix)

    def refuse(self, file: SensorFile) -> str:
        """The address under `refused/` that the file is at now; it is gone from `incoming/`."""
        return self._move(file, self.bucket, self.refused_prefix)

    def store_rejects(self, file: SensorFile, rejects: Path, *, refused: bool) -> str:
        """The address of the refused rows: under `rejects/`, or beside the file if all of it is refused."""
        prefix = self.refused_prefix if refused else self.rejects_prefix
        key = moved_key(file.key, from_prefix=self.incoming_prefix, to_prefix=prefix) + REJECTS_SUFFIX
        with self._naming_permission("s3", s3_uri(self.bucket, key)), rejects.open("rb") as body:
            self._client("s3").upload_fileobj(body, self.bucket, key, ExtraArgs={"ContentType": "text/csv"})
        return s3_uri(self.bucket, key)

    def _move(self, file: SensorFile, bucket: str, prefix: str) -> str:
        """Copy on condition of the version, verify, delete on condition of the version: in this order or not at all."""
        key = moved_key(file.key, from_prefix=self.incoming_prefix, to_prefix=prefix)
        target = SensorFile(bucket=bucket, key=key)
        standing = self.describe(target)
        if standing and not _same_content(standing, file):
            # Another file of that name came this way before. It is not overwritten.
            target = SensorFile(bucket=bucket, key=versioned_key(key, file.version or "again"))
            standing = self.describe(target)
        if standing is None:
            self._copy(file, target)
            standing = self.describe(target)
        if standing is None or standing.size != file.size:
            raise ArchiveError(f"the copy of {file.uri} at {target.uri} is not whole; the original stays where it is")
        self._delete(file)
        return target.uri

    def _copy(self, file: SensorFile, target: SensorFile) -> None:
        source = {"Bucket": file.bucket, "Key": file.key}
        if file.version_id:
            source["VersionId"] = file.version_id
        with self._naming_permission("s3", target.uri):
            self._client("s3").copy(
                source,  # type: ignore[arg-type]
                target.bucket,
                target.key,
                ExtraArgs={"CopySourceIfMatch": file.etag} if file.etag else None,
                Config=_COPY_IN_ONE,
            )

    def _delete(self, file: SensorFile) -> None:
        """Take the file out of `incoming/`, unless a newer version of it has come in between: that one stays."""
        condition = {"IfMatch": file.etag} if file.etag else {}
        with self._naming_permission("s3", file.uri):
            try:
                self._client("s3").delete_object(Bucket=file.bucket, Key=file.key, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                replaced_or_gone = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.NOT_FOUND)
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in replaced_or_gone:
                    raise


def _same_content(one: SensorFile, other: SensorFile) -> bool:
    return (one.size, one.etag) == (other.size, other.etag)
