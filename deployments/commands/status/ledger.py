"""What the ledger's table says, by index and by page: to read it takes as long with millions of entries as with few.

The table is read without the ledger's block: its class needs Prefect, whose import takes longer than all else here. The
names of the attributes are contracts (docs/reference/ledger.md); a test writes with the block and reads with this.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from pydantic import ValidationError

from blocks.domain.models import LedgerEntry, utc_text
from blocks.domain.s3_keys import file_name, s3_uri
from deployments.commands.status.seen import Count, Due, Held, Ledger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Attributes = dict[str, Any]

COUNTED: Final = 1000
"""Items of the index that are counted; an item of it has 200 bytes, and a page of DynamoDB 1 MB."""

READ: Final = 100
"""Items that are read in full, of those the index names: the keys of one BatchGetItem."""

CHECKED: Final = 10
"""Files in `incoming/` whose entries are read, if they are not looked at again."""

EMAILS_READ: Final = 20
NEXT_SHOWN: Final = 5
NEWEST_SHOWN: Final = 10
MONTHS: Final = 12
"""Months that are looked through for the newest entries; one without entries costs a request."""

CLAIM: Final = "#claim"
EMAIL: Final = "#email"


class LedgerReader:
    """Reads the ledger's table; nothing of it is read consistently, and nothing is written."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb, self._table = dynamodb, table
        self._now = datetime.now(UTC)

    def look(self) -> Ledger:
        """What it says now."""
        emails, more_emails = self._due("email", "<=", "9999")  # the first answer says what time it is for the table
        now = utc_text(self._now)
        due, more_due = self._due("load", "<=", now)
        later, more_later = self._due("load", ">", now)
        claims = self._read(due[:READ], CLAIM) + self._read(later[:READ], CLAIM)
        held = [each for each in claims if self._is_held(each)]
        waiting = self._read(emails[:EMAILS_READ], EMAIL)
        due_emails = [each for each in emails if each["next_try_at"] <= now]
        coming = [*map(_due_file, (each for each in claims if not self._is_held(each)))]
        coming += [_due_email(each) for each in waiting if each["state"] == "waiting" or each["next_try_at"] <= now]
        return Ledger(
            at=self._now,
            held=tuple(sorted(map(_held, held), key=lambda each: (each.until, each.file))),
            held_more=more_later or len(later) > READ,
            due_files=Count(len(due), more_due),
            due_files_since=_moment(due[0]) if due else None,
            later_files=Count(len(later), more_later),
            emails=Count(len(emails), more_emails),
            due_emails_since=_moment(due_emails[0]) if due_emails else None,
            next=tuple(sorted(coming, key=lambda each: each.at)[:NEXT_SHOWN]),
            newest=tuple(self._newest()),
        )

    def unknown(self, files: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Those that are not looked at again, and are no version that failed for good and stays there.

        Args:
            files: `bucket/key` and ETag of each, up to `READ`. A few of those that are not looked at again are checked.
        """
        claims, not_known = self._items(({"file": file} for file, _ in files), CLAIM)
        expected = {claim["file"] for claim in claims if "next_try_at" in claim}
        others = [(file, etag) for file, etag in files if file not in expected | not_known]
        return (file for file, etag in others[:CHECKED] if not self._stays(file, etag))

    def _stays(self, file: str, etag: str) -> bool:
        items, _more = self._query(
            KeyConditionExpression="#file = :file",
            ExpressionAttributeNames={"#file": "file"},
            ExpressionAttributeValues=_item({":file": file}),
        )
        return any(entry.stays_in_incoming and entry.etag == etag for entry in _entries(items))

    def _due(self, kind: str, relation: str, moment: str) -> tuple[list[Attributes], bool]:
        """What the index by due time names, the earliest first, and whether there are others."""
        return self._query(
            IndexName="by-due-time",
            KeyConditionExpression=f"waits_for = :kind AND next_try_at {relation} :moment",
            ExpressionAttributeValues=_item({":kind": kind, ":moment": moment}),
            Limit=COUNTED,
        )

    def _newest(self) -> Iterator[LedgerEntry]:
        missing, month = NEWEST_SHOWN, self._now
        for _ in range(MONTHS):
            found, _more = self._query(
                IndexName="by-month",
                KeyConditionExpression="#month = :month",
                ExpressionAttributeNames={"#month": "month"},
                ExpressionAttributeValues=_item({":month": f"{month:%Y-%m}"}),
                ScanIndexForward=False,
                Limit=missing,
            )
            yield from _entries(found)
            missing -= len(found)
            if missing <= 0:
                return
            month = month.replace(day=1) - timedelta(days=1)

    def _query(self, **query: Any) -> tuple[list[Attributes], bool]:  # noqa: ANN401 - parameters of Query
        answer = self._dynamodb.query(TableName=self._table, **query)
        if date := answer["ResponseMetadata"]["HTTPHeaders"].get("date"):
            self._now = parsedate_to_datetime(date)
        return [*map(_attributes, answer["Items"])], "LastEvaluatedKey" in answer

    def _read(self, named: Iterable[Attributes], version: str) -> list[Attributes]:
        """The items that the index names, as they are now: it may be behind. What DynamoDB leaves out is left out."""
        found, _left_out = self._items(named, version)
        return [each for each in found if "next_try_at" in each]

    def _items(self, named: Iterable[Attributes], version: str) -> tuple[list[Attributes], set[str]]:
        """The items that exist, and the files whose items DynamoDB has left out, as the table is throttled."""
        keys: Any = [_item({"file": each["file"], "version": version}) for each in named]
        if not keys:
            return [], set()
        answer = self._dynamodb.batch_get_item(RequestItems={self._table: {"Keys": keys}})
        found, rest = answer["Responses"].get(self._table, []), answer.get("UnprocessedKeys", {}).get(self._table)
        return [*map(_attributes, found)], {_attributes(key)["file"] for key in (rest["Keys"] if rest else [])}

    def _is_held(self, claim: Attributes) -> bool:
        return "claim_id" in claim and claim.get("lease_until", "") > utc_text(self._now)


def _held(claim: Attributes) -> Held:
    return Held(_uri(claim), claim.get("flow_run_id", ""), datetime.fromisoformat(claim["lease_until"]))


def _due_file(claim: Attributes) -> Due:
    if "claim_id" in claim:
        why = "lease ended"
    elif claim.get("unsettled"):
        why = "retry"
    elif claim.get("reload_at") == claim["next_try_at"]:
        why = "reload"
    else:
        why = "announced"
    return Due(_moment(claim), "file", _uri(claim), why)


def _due_email(email: Attributes) -> Due:
    files = email.get("files", [])
    first = file_name(files[0][1]) if files else "no file"
    about = first if len(files) <= 1 else f"{first} and {len(files) - 1:,} more"
    if email["state"] == "collecting":
        return Due(_moment(email), "email", about, "lease ended")
    tries = int(email.get("tries", 0))
    at = datetime.fromisoformat(email["due_at"]) if not tries and "due_at" in email else _moment(email)
    return Due(at, "email", about, f"try {tries + 1}" if tries else "wait ends")


def _entries(items: Iterable[Attributes]) -> Iterator[LedgerEntry]:
    """The entries of these items; one that another program has written, and is none, is left out."""
    for item in items:
        status = "loading" if item.get("status") == "loaded" else item.get("status")  # as version 0.1 called it
        with suppress(ValidationError):
            yield LedgerEntry.model_validate({**item, "status": status})


def _uri(claim: Attributes) -> str:
    return s3_uri(claim["bucket"], claim["key"])


def _moment(item: Attributes) -> datetime:
    return datetime.fromisoformat(item["next_try_at"])


def _attributes(item: Mapping[str, Any]) -> Attributes:
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}


def _item(attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the type of boto3's stubs
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in attributes.items()}
