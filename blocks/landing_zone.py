"""The bucket: where files land, and where they go when they are dealt with."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from blocks.domain.errors import ArchiveError, KeyTooLongError
from blocks.domain.models import FileStatus, SensorFile, StoredFile
from blocks.domain.s3_keys import (
    DEFAULT_INCOMING,
    LONGEST_KEY_BYTES,
    PUT_BACK,
    REJECTS_SUFFIX,
    is_file,
    key_bytes,
    moved_key,
    s3_uri,
    versioned_key,
)
from blocks.runtime import runtime
from blocks.s3_objects import ObjectsBlock

Prefix = Annotated[str, StringConstraints(pattern="^[^/].*/$")]


class LandingZone(ObjectsBlock):
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

    bucket: str = Field(min_length=3, description="Bucket that files land in.")
    target_bucket: str | None = Field(
        default=None, description="Bucket that loaded files move to; left empty, they stay in the same bucket."
    )
    incoming_prefix: Prefix = Field(default=DEFAULT_INCOMING, description="Prefix of files that wait to be loaded.")
    processed_prefix: Prefix = Field(default="processed/", description="Prefix of files whose rows are in the table.")
    refused_prefix: Prefix = Field(
        default="refused/", description="Prefix of files over the reject limit or unreadable."
    )
    failed_prefix: Prefix = Field(default="failed/", description="Prefix of files that failed for good.")
    rejects_prefix: Prefix = Field(default="rejects/", description="Prefix of the rejected rows with their reasons.")

    @model_validator(mode="after")
    def _leads_out_of_incoming(self) -> Self:
        targets = [self.refused_prefix, self.failed_prefix, self.rejects_prefix]
        if (self.target_bucket or self.bucket) == self.bucket:
            targets.append(self.processed_prefix)
        for prefix in targets:
            if prefix.startswith(self.incoming_prefix):
                raise ValueError(f"what goes to {prefix!r} would arrive again: it is within {self.incoming_prefix!r}")
        return self

    def waiting(self, older_than: timedelta) -> Iterator[StoredFile]:
        """The objects under `incoming/` that have been there for longer than that, in the order of their keys."""
        before = runtime().utc_now() - older_than
        return (found for found in self.under(self.incoming_prefix) if found.landed_at < before)

    def under(self, prefix: str) -> Iterator[StoredFile]:
        """The objects under that prefix of the bucket, without version ids, in the order of their keys."""
        pages = self._client("s3").get_paginator("list_objects_v2")
        with self._naming_permission("s3", s3_uri(self.bucket, prefix)):
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Contents", []):
                    key, etag, landed_at = found["Key"], found["ETag"].strip('"'), found["LastModified"]
                    if is_file(key):
                        yield StoredFile(
                            bucket=self.bucket, key=key, etag=etag, size=found["Size"], landed_at=landed_at
                        )

    def check_key(self, file: SensorFile) -> None:
        """Return if the file has room under `processed/` and `refused/`, with its full key: a load ends at either.

        The other names need no check. The one with a version is shortened where it is too long, and so is that of the
        rejects, which the ledger has the address of.

        Raises:
            KeyTooLongError: it has not; the file is to be loaded under another key.
        """
        for prefix in (self.processed_prefix, self.refused_prefix):
            self._check_room(file, prefix)

    def store_copy(self, file: SensorFile, status: FileStatus) -> str:
        """The address that a file of that status belongs at, and where it is now as well; `remove` is the next step.

        Raises:
            ArchiveError: there is no place for it, or the copy cannot be trusted.
            KeyTooLongError: its key is too long under the other prefix.
        """
        bucket, prefix = self._home(status)
        self._check_room(file, prefix)
        for key in self._names(file, prefix):
            target = SensorFile(bucket=bucket, key=key)
            if self._copied(file, target):
                return target.uri
        raise ArchiveError(f"{file.uri} has no place under {s3_uri(bucket, prefix)}; it stays where it is")

    def remove(self, file: SensorFile) -> bool:
        """Whether the file, which was copied, is gone from `incoming/` now; False if a newer version of it is there."""
        return self._delete(file)

    def put_back(self, file: SensorFile, key: str) -> StoredFile:
        """The file under that key of `incoming/`, moved there from `failed/` or `refused/`: a new version to load.

        On its way it has a name that no load gives a file. A load that takes the new version away again, perhaps
        before this call ends, would otherwise find the source, take it for its own copy, and lose it to the delete
        here. A move that was cut off leaves the file at one of the three names, and can be made again from there.

        Raises:
            ArchiveError: an object is in the way, or a copy differs from the file; the message says where the file is.
            KeyTooLongError: the file could not be moved out of `incoming/` again.
        """
        target = SensorFile(bucket=self.bucket, key=key)
        self.check_key(target)
        self._refuse_if_waiting(target, file)
        file = file.without_version_id()
        prefixes = (each for each in (self.failed_prefix, self.refused_prefix) if file.key.startswith(each))
        if (prefix := next(prefixes, None)) is None:
            raise ArchiveError(f"{file.uri} is neither under {self.failed_prefix} nor under {self.refused_prefix}")
        on_its_way = moved_key(key, from_prefix=self.incoming_prefix, to_prefix=prefix)
        interim = self._at_interim(file, SensorFile(bucket=self.bucket, key=versioned_key(on_its_way, PUT_BACK)))
        if not self._copy(interim, target):
            self._refuse_if_waiting(target, interim)
        copy = self.describe(target)
        if copy is None or not self._same_content(copy, interim):
            raise ArchiveError(f"the copy of {interim.uri} at {target.uri} is not whole; the file stays where it is")
        self._delete(interim)
        return copy

    def _at_interim(self, file: SensorFile, interim: SensorFile) -> SensorFile:
        if file.key != interim.key:
            if not self._copied(file, interim):
                raise ArchiveError(f"{interim.uri} is another file; put that one back first. {file.uri} stays there")
            self._delete(file)
        found = self.describe(interim)
        if found is None:
            raise ArchiveError(f"{interim.uri} is gone: another command has put it back")
        return found.without_version_id()

    def _refuse_if_waiting(self, target: SensorFile, file: SensorFile) -> None:
        if self.listed(target):
            raise ArchiveError(
                f"{target.uri} is a newer object, which is not overwritten. {file.uri} stays where it is; "
                "put it back when the newer one has left incoming/, or delete it if the newer one replaces it"
            )

    def _home(self, status: FileStatus) -> tuple[str, str]:
        match status:
            case "archived":
                return self.target_bucket or self.bucket, self.processed_prefix
            case "refused":
                return self.bucket, self.refused_prefix
            case "failed":
                return self.bucket, self.failed_prefix
            case _:
                raise ArchiveError(f"a file that is {status} has no other place than where it is")

    def store_rejects(self, file: SensorFile, rejects: Path, *, refused: bool) -> str:
        """The address of the rejected rows: under `rejects/`, or beside the file if all of it is refused."""
        prefix = self.refused_prefix if refused else self.rejects_prefix
        for key in self._names(file, prefix, REJECTS_SUFFIX):
            target = SensorFile(bucket=self.bucket, key=key)
            standing = self.describe(target)
            if standing is None or self._holds(standing, rejects):
                break
        with self._naming_permission("s3", target.uri), rejects.open("rb") as body:
            self._client("s3").upload_fileobj(body, target.bucket, target.key, ExtraArgs={"ContentType": "text/csv"})
        return target.uri

    def _names(self, file: SensorFile, prefix: str, suffix: str = "") -> list[str]:
        """The key a file has under another prefix, and the one for when that is in use; the first one if it fits."""
        key = moved_key(file.key, from_prefix=self.incoming_prefix, to_prefix=prefix)
        names = [key + suffix, versioned_key(key, file.version or "again", suffix)]
        return [name for name in names if key_bytes(name) <= LONGEST_KEY_BYTES]

    def _check_room(self, file: SensorFile, prefix: str) -> None:
        length = key_bytes(moved_key(file.key, from_prefix=self.incoming_prefix, to_prefix=prefix))
        if length > LONGEST_KEY_BYTES:
            raise KeyTooLongError(prefix, length, LONGEST_KEY_BYTES)
