"""The ledger: which version of which file was loaded, when, by which run, and what became of its lines."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import Field, HttpUrl

from blocks.aws_block import DOCUMENTATION_URL, LOGO_URL, AwsBlock
from blocks.domain.errors import ClaimedElsewhereError
from blocks.domain.models import SETTLED, FileReport, FileStatus, LedgerEntry, SensorFile, StoredFile, utc_text
from blocks.domain.s3_keys import comes_before

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

W = TypeVar("W")

# Conditions, named after the situation they stand for.
NEVER_CLAIMED: Final = "attribute_not_exists(#file)"
UNSETTLED: Final = "#status IN (:loading, :loaded)"
LEASE_EXPIRED: Final = f"({UNSETTLED} AND lease_until < :now)"
BY_THIS_RUN: Final = "flow_run_id = :run"
CLAIMED_BY_THIS_RUN: Final = f"({UNSETTLED} AND {BY_THIS_RUN})"
LANDED_SINCE_IT_WAS_SETTLED: Final = f"(attribute_exists(finished_at) AND NOT {UNSETTLED} AND finished_at < :landed)"
HELD_BY_NOBODY_ELSE: Final = f"({NEVER_CLAIMED} OR NOT {UNSETTLED} OR lease_until < :now OR {BY_THIS_RUN})"
SETTLED_BY_THIS_RUN: Final = f"(attribute_exists(#file) AND NOT {UNSETTLED} AND {BY_THIS_RUN})"

GIVEN_UP_AS_GONE: Final[frozenset[FileStatus]] = frozenset({"missing", "superseded"})
"""What was settled without having been loaded, because it was not there any more."""

IN_HAND_INDEX: Final = "in-hand"
"""The index of the entries that a run holds, or held last, by file and end of the lease."""

UNFINISHED_INDEX: Final = "unfinished"
"""The index of the entries that still need something: a load, or an email. The others lack its key."""

MONTH_INDEX: Final = "by-month"
"""The index of all entries by the month they were claimed in, for history."""

FIRST_MONTH: Final = "2026-01"
"""No entry is older than this project, so nobody looks further back, however many months are empty."""


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
        default=900,
        gt=0,
        description="Seconds that a run holds a file for unless it renews that; then another run may take over.",
    )
    attempts: int = Field(
        default=5, ge=1, description="Loads of a file that may fail before it is moved to failed/ and left alone."
    )

    # ---- Who may load --------------------------------------------------------------------------------------------

    def claim(self, file: StoredFile, flow_run_id: str, *, again: bool = False) -> LedgerEntry:
        """The ledger's entry of this version: status `loading` if it is ours to load, else as another run left it.

        A version that is settled is given out again if it has landed since, if it was given up as gone and is back
        (somebody removed the delete marker, or the version that replaced it), or on purpose (`again`).

        Raises:
            ClaimedElsewhereError: another run holds a lease on it, or on another version of the file.
            PermissionMissingError: DynamoDB refused the call.
        """
        now = datetime.now(UTC)
        entry = LedgerEntry(
            bucket=file.bucket,
            key=file.key,
            version=file.version or "",
            etag=file.etag,
            sequencer=file.sequencer,
            landed_at=file.landed_at,
            status="loading",
            claimed_at=now,
            lease_until=self._until(now),
            flow_run_id=flow_run_id,
        )
        self._check_that_no_other_version_is_in_hand(entry)
        standing = self._put(entry, NEVER_CLAIMED)
        if standing and standing.status in SETTLED:
            may_have_it = again or standing.status in GIVEN_UP_AS_GONE
            standing = self._put(entry, HELD_BY_NOBODY_ELSE if may_have_it else LANDED_SINCE_IT_WAS_SETTLED)
        elif standing:
            counted = {"attempts": standing.attempts + 1, "tries": standing.tries + 1, "problem": standing.problem}
            entry = entry.model_copy(update=counted)
            standing = self._put(entry, f"{LEASE_EXPIRED} OR {CLAIMED_BY_THIS_RUN}")
        if standing is None:
            return entry
        if standing.status not in SETTLED:
            raise ClaimedElsewhereError(file.uri, standing.flow_run_id or "?", str(standing.lease_until))
        return standing

    def claim_again(self, archived: LedgerEntry, flow_run_id: str) -> LedgerEntry:
        """The entry of an archived file, ours to load once more from where it is.

        What the earlier load found stays in it until this one has found it anew: should this one die, the file is still
        archived, and its rows are still in the table.

        Raises:
            ClaimedElsewhereError: another run holds a lease on it, or on another version of the file.
            PermissionMissingError: DynamoDB refused the call.
        """
        now = datetime.now(UTC)
        claim = {
            "status": "loading",
            "claimed_at": now,
            "lease_until": self._until(now),
            "flow_run_id": flow_run_id,
            "attempts": 1,
            "tries": 1,
            "finished_at": None,
            "notified_at": None,
            "notified_by": None,
        }
        entry = archived.model_copy(update=claim)
        self._check_that_no_other_version_is_in_hand(entry)
        standing = self._put(entry, HELD_BY_NOBODY_ELSE)
        if standing:
            raise ClaimedElsewhereError(entry.uri, standing.flow_run_id or "?", str(standing.lease_until))
        return entry

    def _check_that_no_other_version_is_in_hand(self, entry: LedgerEntry) -> None:
        """Raise if a run is loading another version of the file: which rows come last would be chance.

        The index may lag behind the table by a second, so what it names is looked at in the table.
        """
        with self._naming_permission("dynamodb", f"index {IN_HAND_INDEX} of table {self.table_name}"):
            found = self._client("dynamodb").query(
                TableName=self.table_name,
                IndexName=IN_HAND_INDEX,
                KeyConditionExpression="in_hand = :file AND lease_until > :now",
                ExpressionAttributeValues=_item(
                    {":file": f"{entry.bucket}/{entry.key}", ":now": utc_text(entry.claimed_at)}
                ),
            )["Items"]
        for version in (item["version"]["S"] for item in found):
            other = self._entry_of(entry.model_copy(update={"version": version}))
            if other is None or version == entry.version or other.flow_run_id == entry.flow_run_id:
                continue
            if other.is_leased(entry.claimed_at):
                raise ClaimedElsewhereError(entry.uri, other.flow_run_id or "?", str(other.lease_until))

    def renew(self, entry: LedgerEntry) -> bool:
        """Whether this run still holds the file; if so, for `lease_seconds` from now."""
        until = utc_text(self._until(datetime.now(UTC)))
        return self._update(entry, "SET lease_until = :until", CLAIMED_BY_THIS_RUN, {":until": until})

    def release(self, entry: LedgerEntry, problem: str = "", *, counts: bool = True) -> None:
        """End the lease on a file that a run held and could not load: the next run may have it at once.

        Args:
            entry: as that run claimed it.
            problem: why it could not.
            counts: whether it was the file's fault, so that after too many such loads nobody tries again.
        """
        # Numbers, not differences: the call is made again if its answer is lost.
        attempts, tries = (entry.attempts, entry.attempts) if counts else (entry.attempts - 1, entry.tries)
        self._update(
            entry,
            "SET lease_until = claimed_at, problem = :problem, attempts = :attempts, tries = :tries",
            CLAIMED_BY_THIS_RUN,
            {":problem": problem, ":attempts": attempts, ":tries": tries},
        )

    def record(self, entry: LedgerEntry) -> None:
        """Write an entry that this run has claimed anew, with what has become known since.

        One that is not settled yet holds the file on, for `lease_seconds` from now.

        Raises:
            ClaimedElsewhereError: this run was slower than its lease, and another has the file now.
        """
        if entry.status not in SETTLED:
            entry = entry.model_copy(update={"lease_until": self._until(datetime.now(UTC))})
        standing = self._put(entry, f"{NEVER_CLAIMED} OR {BY_THIS_RUN}")
        if standing:
            raise ClaimedElsewhereError(entry.uri, standing.flow_run_id or "?", str(standing.lease_until))

    def supersede(self, older: SensorFile, newer: str | None, flow_run_id: str) -> LedgerEntry | None:
        """The entry of a version that a newer one has replaced before it was loaded; None if the ledger has one.

        There is nothing left to do about it.
        """
        now = datetime.now(UTC)
        entry = LedgerEntry(
            bucket=older.bucket,
            key=older.key,
            version=older.version or "",
            etag=older.etag,
            sequencer=older.sequencer,
            status="superseded",
            problem=f"version {newer} of this key came after it and before it was loaded, so it was left alone",
            claimed_at=now,
            finished_at=now,
            notified_at=now,
            flow_run_id=flow_run_id,
        )
        return None if self._put(entry, NEVER_CLAIMED) else entry

    def close(self, entry: LedgerEntry, status: FileStatus, problem: str) -> None:
        """Settle an entry that nobody holds, as what it came to by itself."""
        closed = {"status": status, "problem": problem, "finished_at": datetime.now(UTC), "lease_until": None}
        self._put(entry.model_copy(update=closed), LEASE_EXPIRED)

    # ---- Who was told --------------------------------------------------------------------------------------------

    def notifying_run(self, report: FileReport) -> str | None:
        """The flow run that sent the email about this report; None if none has."""
        if not report.version:
            return None
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            answer = self._client("dynamodb").get_item(
                TableName=self.table_name,
                Key=_key(report),
                ConsistentRead=True,
                ProjectionExpression="notified_at, notified_by, flow_run_id",
            )
        noted = answer.get("Item", {})
        if "notified_at" not in noted or noted.get("flow_run_id", {}).get("S") != report.flow_run_id:
            return None
        return noted.get("notified_by", {}).get("S", "")

    def mark_notified(self, report: FileReport, by: str) -> None:
        """Note in the file's entry that people have been told, by that flow run.

        Only if the entry is the one that the report is from: another run may have loaded the file again since, and that
        is another piece of news.
        """
        told = {":told": utc_text(datetime.now(UTC)), ":by": by}
        change = "SET notified_at = :told, notified_by = :by REMOVE unfinished"
        self._update(report, change, SETTLED_BY_THIS_RUN, told)

    # ---- What is known -------------------------------------------------------------------------------------------

    def _entry_of(self, report: FileReport) -> LedgerEntry | None:
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            answer = self._client("dynamodb").get_item(TableName=self.table_name, Key=_key(report), ConsistentRead=True)
        return _entry(answer["Item"]) if "Item" in answer else None

    def settled(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of a file that was dealt with and moved on; the newest, if no version is asked for.

        A version with the same bytes that came while the first was being loaded is cleared away with that one.
        """
        entries = [entry for entry in self.entries_of(file.bucket, file.key) if entry.status in SETTLED]
        asked_for = [
            entry
            for entry in entries
            if file.version in (None, entry.version, entry.etag) or (file.etag and file.etag == entry.etag)
        ]
        return max(asked_for, key=lambda entry: entry.claimed_at, default=None)

    def archived(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of a file that was loaded and is kept elsewhere now; the newest, if no version is asked for.

        One that was being loaded once more when its run died is among them.
        """
        entries = [entry for entry in self.entries_of(file.bucket, file.key) if entry.is_kept]
        asked_for = [entry for entry in entries if file.version in (None, entry.version, entry.etag)]
        return max(asked_for, key=lambda entry: entry.claimed_at, default=None)

    def newer_than(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of a version of the same key that, by S3's own order of events, came after this one."""
        for entry in self.entries_of(file.bucket, file.key):
            if file.sequencer and entry.sequencer and comes_before(file.sequencer, entry.sequencer):
                return entry
        return None

    def unfinished(self) -> list[LedgerEntry]:
        """The entries that still need something, a load or an email, the oldest first.

        An index answers, which may lag behind the table by a second: settled entries may still be among them.
        """
        pages = self._client("dynamodb").get_paginator("query")
        with self._naming_permission("dynamodb", f"index {UNFINISHED_INDEX} of table {self.table_name}"):
            items = pages.paginate(
                TableName=self.table_name,
                IndexName=UNFINISHED_INDEX,
                KeyConditionExpression="unfinished = :yes",
                ExpressionAttributeValues=_item({":yes": "yes"}),
            ).search("Items")
            return [_entry(item) for item in items]

    def newest(self, limit: int, since: datetime | None = None) -> Iterator[LedgerEntry]:
        """Up to `limit` entries, the last claimed first, none claimed before `since`; pages are read when needed."""
        start = utc_text(since) if since else FIRST_MONTH
        month = datetime.now(UTC)
        while limit > 0 and f"{month:%Y-%m}" >= max(start[:7], FIRST_MONTH):
            for entry in islice(self._of_month(f"{month:%Y-%m}", start, limit), limit):
                limit -= 1
                yield entry
            month = month.replace(day=1) - timedelta(days=1)

    def _of_month(self, month: str, start: str, page_size: int) -> Iterator[LedgerEntry]:
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "IndexName": MONTH_INDEX,
            "KeyConditionExpression": "#month = :month AND claimed_at >= :start",
            "ExpressionAttributeNames": {"#month": "month"},
            "ExpressionAttributeValues": _item({":month": month, ":start": start}),
            "ScanIndexForward": False,
            "Limit": page_size,
        }
        while True:
            with self._naming_permission("dynamodb", f"index {MONTH_INDEX} of table {self.table_name}"):
                page = self._client("dynamodb").query(**query)
            yield from map(_entry, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

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

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.lease_seconds)

    def _put(self, entry: LedgerEntry, condition: str) -> LedgerEntry | None:
        """The entry that stands in the way of the condition; None if this one was written."""
        attributes = {
            "file": f"{entry.bucket}/{entry.key}",
            "month": utc_text(entry.claimed_at)[:7],  # what the index for history is partitioned by
            **({} if entry.notified_at else {"unfinished": "yes"}),
            **({} if entry.status in SETTLED else {"in_hand": f"{entry.bucket}/{entry.key}"}),
            **entry.model_dump(mode="json", exclude_none=True),
        }
        item = _item(attributes)
        landed = {":landed": utc_text(entry.landed_at or entry.claimed_at)}
        client = self._client("dynamodb")
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            try:
                client.put_item(
                    TableName=self.table_name,
                    Item=item,
                    **_conditional(condition, entry.flow_run_id, landed),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except client.exceptions.ConditionalCheckFailedException as error:
                standing = _standing_in_the_way(error)
                # If it is what was to be written, this very call wrote it: its answer was lost, and it was made again.
                return None if standing == item else _entry(standing)
        return None

    def _update(self, report: FileReport, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Whether the entry met the condition, and so was changed."""
        client = self._client("dynamodb")
        conditional = _conditional(condition, report.flow_run_id, {})
        conditional["ExpressionAttributeValues"] |= _item(values)
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            try:
                client.update_item(TableName=self.table_name, Key=_key(report), UpdateExpression=change, **conditional)
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True


def _conditional(condition: str, flow_run_id: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """The condition as DynamoDB takes it: with the words that it uses, and no others, which would be refused."""
    names = {"#file": "file", "#status": "status"}
    known = {
        ":loading": "loading",
        ":loaded": "loaded",
        ":run": flow_run_id,
        ":now": utc_text(datetime.now(UTC)),
        **values,
    }
    conditional: dict[str, Any] = {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": _used(names, condition),
        "ExpressionAttributeValues": _item(_used(known, condition)),
    }
    return {name: value for name, value in conditional.items() if value}


def _key(report: FileReport) -> "dict[str, AttributeValueTypeDef]":
    return _item({"file": f"{report.bucket}/{report.key}", "version": report.version})


def _used(words: Mapping[str, W], condition: str) -> dict[str, W]:
    return {word: meaning for word, meaning in words.items() if re.search(rf"{word}\b", condition)}


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
