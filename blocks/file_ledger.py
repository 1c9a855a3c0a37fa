"""The ledger: which version of which file was loaded, when, by which run, and what became of its lines."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import Field, HttpUrl

from blocks.aws import DOCUMENTATION_URL, LOGO_URL, AwsBlock
from flows.errors import ClaimedElsewhereError
from flows.models import FileReport, LedgerEntry, SensorFile, utc_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

W = TypeVar("W")

# Conditions, named after the situation they stand for.
NEVER_CLAIMED: Final = "attribute_not_exists(#file)"
KNOWN: Final = "attribute_exists(#file)"
UNSETTLED: Final = "#status IN (:loading, :loaded)"
LEASE_EXPIRED: Final = f"({UNSETTLED} AND lease_until < :now)"
BY_THIS_RUN: Final = "flow_run_id = :run"
CLAIMED_BY_THIS_RUN: Final = f"({UNSETTLED} AND {BY_THIS_RUN})"


class FileLedger(AwsBlock):
    """The DynamoDB table of files: `file` (S, hash, `bucket/key`), `version` (S, range, version id or ETag).

    Example:
        What became of a file?
        ```python
        from blocks.file_ledger import FileLedger

        file_ledger = FileLedger.load("BLOCK_NAME")
        print(file_ledger.entries_of("my-bucket", "incoming/sensors.csv"))
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor file ledger"
    _block_type_slug: ClassVar[str] = "sensor-file-ledger"
    _description: ClassVar[str] = "The DynamoDB table that remembers which version of which file was loaded."
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION_URL
    _logo_url: ClassVar[HttpUrl | None] = LOGO_URL

    table_name: str = Field(min_length=3, max_length=255, description="Name of the DynamoDB table.")
    lease_seconds: float = Field(
        default=900, gt=0, description="Seconds that a run holds a file for; after that another run may take over."
    )

    def claim(self, file: SensorFile, flow_run_id: str) -> LedgerEntry:
        """The ledger's entry of this version: status `loading` if it is ours to load, else as another run left it.

        Raises:
            ClaimedElsewhereError: another run holds a lease on it.
            PermissionMissingError: DynamoDB refused the call.
        """
        now = datetime.now(UTC)
        entry = LedgerEntry(
            bucket=file.bucket,
            key=file.key,
            version=file.version or "",
            etag=file.etag,
            status="loading",
            claimed_at=now,
            lease_until=now + timedelta(seconds=self.lease_seconds),
            flow_run_id=flow_run_id,
        )
        condition = f"{NEVER_CLAIMED} OR {LEASE_EXPIRED} OR {CLAIMED_BY_THIS_RUN}"
        standing = self._put(entry, condition)
        if standing is None:
            return entry
        if standing.status in ("loading", "loaded"):
            raise ClaimedElsewhereError(file.uri, standing.flow_run_id or "?", str(standing.lease_until))
        return standing

    def settled(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of a file that was loaded or refused and moved on; the newest, if no version is asked for."""
        entries = [entry for entry in self.entries_of(file.bucket, file.key) if entry.status in ("archived", "refused")]
        asked_for = [entry for entry in entries if file.version in (None, entry.version, entry.etag)]
        return max(asked_for, key=lambda entry: entry.claimed_at, default=None)

    def is_in_hand(self, file: SensorFile) -> bool:
        """Whether a run holds a lease on any version of the file right now."""
        now = datetime.now(UTC)
        return any(entry.lease_until and entry.lease_until > now for entry in self.entries_of(file.bucket, file.key))

    def release(self, entry: LedgerEntry) -> None:
        """End the lease on a file that this run holds and could not load: the next run may have it at once."""
        self._put(entry.model_copy(update={"lease_until": entry.claimed_at}), CLAIMED_BY_THIS_RUN)

    def record(self, entry: LedgerEntry) -> None:
        """Write an entry that this run has claimed anew, with what has become known since.

        A run that was slower than its lease may find that another has settled the file: the first one is remembered.
        """
        self._put(entry, f"{NEVER_CLAIMED} OR {UNSETTLED} OR {BY_THIS_RUN}")

    def note_notified(self, report: FileReport) -> None:
        """Note in the file's entry, if the ledger has one, that the people who asked have been told."""
        client = self._client("dynamodb")
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            try:
                client.update_item(
                    TableName=self.table_name,
                    Key=_item({"file": f"{report.bucket}/{report.key}", "version": report.version}),
                    UpdateExpression="SET notified_at = :now",
                    ConditionExpression=KNOWN,  # a file that was missing has no entry, and half of one helps nobody
                    ExpressionAttributeNames={"#file": "file"},
                    ExpressionAttributeValues=_item({":now": utc_text(datetime.now(UTC))}),
                )
            except client.exceptions.ConditionalCheckFailedException:
                return

    def entries_of(self, bucket: str, key: str) -> list[LedgerEntry]:
        """All versions of one file that were ever claimed, in no particular order."""
        pages = self._client("dynamodb").get_paginator("query")
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            items = pages.paginate(
                TableName=self.table_name,
                KeyConditionExpression="#file = :file",
                ExpressionAttributeNames={"#file": "file"},
                ExpressionAttributeValues=_item({":file": f"{bucket}/{key}"}),
                ConsistentRead=True,
            ).search("Items")
            return [_entry(item) for item in items]

    def _put(self, entry: LedgerEntry, condition: str) -> LedgerEntry | None:
        """The entry that stands in the way of the condition; None if this one was written."""
        names = {"#file": "file", "#status": "status"}
        now = utc_text(datetime.now(UTC))
        values = {":loading": "loading", ":loaded": "loaded", ":run": entry.flow_run_id, ":now": now}
        client = self._client("dynamodb")
        item = _item(
            {
                "file": f"{entry.bucket}/{entry.key}",
                "month": utc_text(entry.claimed_at)[:7],  # what the index for history is partitioned by
                **entry.model_dump(mode="json", exclude_none=True),
            }
        )
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            try:
                client.put_item(
                    TableName=self.table_name,
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=_used(names, condition),
                    ExpressionAttributeValues=_item(_used(values, condition)),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except client.exceptions.ConditionalCheckFailedException as error:
                return _entry(_standing_in_the_way(error))
        return None


def _used(words: Mapping[str, W], condition: str) -> dict[str, W]:
    """Those that the condition uses: DynamoDB refuses to be told more."""
    return {word: meaning for word, meaning in words.items() if word in condition}


def _standing_in_the_way(error: ClientError) -> "dict[str, AttributeValueTypeDef]":
    # botocore hands the item over beside "Error"; its types do not know.
    item: dict[str, AttributeValueTypeDef] = error.response["Item"]  # type: ignore[typeddict-item]
    return item


def _item(attributes: Mapping[str, Any]) -> "dict[str, AttributeValueTypeDef]":
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in attributes.items()}


def _entry(item: "Mapping[str, AttributeValueTypeDef]") -> LedgerEntry:
    deserializer = TypeDeserializer()
    return LedgerEntry.model_validate({name: deserializer.deserialize(value) for name, value in item.items()})
