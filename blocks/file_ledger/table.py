"""The DynamoDB table behind the ledger: conditional writes, reads, and entries as items."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import Field, ValidationError

from blocks.aws_block import AwsBlock
from blocks.domain.models import SETTLED, FileReport, LedgerEntry, utc_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = dict[str, AttributeValueTypeDef]

W = TypeVar("W")

_LOG: Final = logging.getLogger(__name__)

LEASED_INDEX: Final = "in-hand"
"""Index of the unsettled entries, by file and end of the lease. The template names it."""

UNFINISHED_INDEX: Final = "unfinished"
"""Index of the entries that still need a load or an email; only these have its key."""

MONTH_INDEX: Final = "by-month"
"""Index of all entries by the month of their claim, for history."""


class LedgerTable(AwsBlock):
    """Base of the ledger block: one item per version of a file."""

    table_name: str = Field(min_length=3, max_length=255, description="Name of the DynamoDB table.")

    def entries_of(self, bucket: str, key: str) -> list[LedgerEntry]:
        """The entries of all versions of one file, in no particular order; a consistent read."""
        items = self._query(
            None,
            "#file = :file",
            {":file": f"{bucket}/{key}"},
            ExpressionAttributeNames={"#file": "file"},
            ConsistentRead=True,
        )
        return list(map(to_entry, items))

    def _get(self, report: FileReport) -> LedgerEntry | None:
        """The entry of the version that the report is about; a consistent read."""
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            answer = self._client("dynamodb").get_item(TableName=self.table_name, Key=_key(report), ConsistentRead=True)
        return to_entry(answer["Item"]) if "Item" in answer else None

    def _query(
        self,
        index: str | None,
        condition: str,
        values: Mapping[str, Any],
        **more: Any,  # noqa: ANN401 - parameters of Query
    ) -> "Iterator[Item]":
        """The items that meet the key condition, page by page, in the order of the table or index."""
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_item(values),
            **({"IndexName": index} if index else {}),
            **more,
        }
        where = f"index {index} of table {self.table_name}" if index else f"table {self.table_name}"
        while True:
            with self._naming_permission("dynamodb", where):
                page = self._client("dynamodb").query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _put(self, entry: LedgerEntry, condition: str) -> LedgerEntry | None:
        """None if the entry was written; else the existing entry, which did not meet the condition."""
        file = f"{entry.bucket}/{entry.key}"
        item = to_item(
            {
                "file": file,
                "month": utc_text(entry.claimed_at)[:7],
                **({} if entry.notified_at else {"unfinished": "yes"}),
                **({} if entry.status in SETTLED else {"in_hand": file}),
                **entry.model_dump(mode="json", exclude_none=True),
            }
        )
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
                existing = _existing_item(error)
                # An equal item was written by this very call: its answer was lost, and botocore made the call again.
                return None if existing == item else to_entry(existing)
        return None

    def _update(self, report: FileReport, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Whether the entry met the condition, and so was changed."""
        client = self._client("dynamodb")
        conditional = _conditional(condition, report.flow_run_id, {})
        conditional["ExpressionAttributeValues"] |= to_item(values)
        with self._naming_permission("dynamodb", f"table {self.table_name}"):
            try:
                client.update_item(TableName=self.table_name, Key=_key(report), UpdateExpression=change, **conditional)
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True


def to_item(attributes: Mapping[str, Any]) -> "Item":
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in attributes.items()}


def to_entry(item: "Mapping[str, AttributeValueTypeDef]") -> LedgerEntry:
    deserializer = TypeDeserializer()
    return LedgerEntry.model_validate({name: deserializer.deserialize(value) for name, value in item.items()})


def valid_entries(items: "Iterable[Item]") -> Iterator[LedgerEntry]:
    """The entries of these items; an item that does not validate is logged and left out.

    One invalid item, which somebody else has written, must not fail every sweep.
    """
    for item in items:
        try:
            yield to_entry(item)
        except ValidationError as error:
            _LOG.warning("the ledger's item %s is not a valid entry and is left out: %s", item["file"], error)


def _key(report: FileReport) -> "Item":
    return to_item({"file": f"{report.bucket}/{report.key}", "version": report.version})


def _conditional(condition: str, flow_run_id: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """The condition as parameters of a call, with only the names and values that it uses: DynamoDB refuses others."""
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
        "ExpressionAttributeValues": to_item(_used(known, condition)),
    }
    return {name: value for name, value in conditional.items() if value}


def _used(placeholders: Mapping[str, W], condition: str) -> dict[str, W]:
    return {name: value for name, value in placeholders.items() if re.search(rf"{name}\b", condition)}


def _existing_item(error: ClientError) -> "Item":
    # botocore puts the item beside "Error"; its types do not know.
    item: Item = error.response["Item"]  # type: ignore[typeddict-item]
    return item
