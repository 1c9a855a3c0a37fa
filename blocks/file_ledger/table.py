"""The DynamoDB table behind the ledger: items, reads, and writes that only succeed on what was read."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import Field, PrivateAttr, ValidationError

from blocks.aws_block import AwsBlock
from blocks.domain.models import LedgerEntry, utc_text
from blocks.domain.text import OneLineLog
from blocks.file_ledger.table_clock import TableClock
from blocks.runtime import runtime

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = dict[str, AttributeValueTypeDef]

_LOG: Final = OneLineLog(logging.getLogger(__name__))

DUE_INDEX: Final = "by-due-time"
"""Index of what is to be looked at again: claims of files, and emails. The template names it."""

MONTH_INDEX: Final = "by-month"
"""Index of all entries by the month of their claim, for history."""

KEYS_PER_READ: Final = 100
"""The most keys of one BatchGetItem. Source: "BatchGetItem", Amazon DynamoDB API reference."""

_CONFLICT_ROUNDS: Final = 20
_CONFLICT_PAUSE_SECONDS: Final = 0.05

_CONFLICTS: Final = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Reasons for which a transaction was cancelled that pass. Source: "TransactWriteItems", DynamoDB API reference."""


@dataclass(frozen=True)
class Key:
    """The primary key of an item."""

    file: str
    version: str


@dataclass(frozen=True)
class Put:
    """An item to be written if the item of that key is as it was read.

    `revision` is the revision that was read, 0 for no item. `as_read` are the attributes that were read of an entry,
    which has no revision. With neither there is no condition: another write of the same transaction guards this one.
    """

    attributes: Mapping[str, Any]
    revision: int | None = None
    as_read: Mapping[str, Any] | None = None


class LedgerTable(AwsBlock):
    """Base of the ledger block: one table with the claims of files, the entries of their versions, and the emails."""

    table_name: str = Field(min_length=3, max_length=255, description="Name of the DynamoDB table.")

    _clock: TableClock = PrivateAttr(default_factory=TableClock)

    def entries_of(self, bucket: str, key: str) -> list[LedgerEntry]:
        """The entries of all versions of one file, in no particular order; a consistent read."""
        items = self._query(
            None,
            "#file = :file",
            {":file": f"{bucket}/{key}"},
            ExpressionAttributeNames={"#file": "file"},
            ConsistentRead=True,
        )
        return list(valid_entries(item for item in items if not item["version"]["S"].startswith("#")))

    def _read(self, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
        """The attributes of the items that exist, by key; consistent reads."""
        wanted, found = list(dict.fromkeys(keys)), {}
        client = self._client("dynamodb")
        for start in range(0, len(wanted), KEYS_PER_READ):
            rest: Any = [_key_item(key) for key in wanted[start : start + KEYS_PER_READ]]
            while rest:
                request: Any = {self.table_name: {"Keys": rest, "ConsistentRead": True}}
                answer = self._call(partial(client.batch_get_item, RequestItems=request))
                for item in answer["Responses"].get(self.table_name, []):
                    attributes = from_item(item)
                    found[Key(attributes["file"], attributes["version"])] = attributes
                rest = answer.get("UnprocessedKeys", {}).get(self.table_name, {}).get("Keys", [])
                if rest:  # the table is throttled, or the items are more than one answer takes
                    runtime().sleep(runtime().uniform(0, _CONFLICT_PAUSE_SECONDS))
        return found

    def _query(
        self,
        index: str | None,
        condition: str,
        values: Mapping[str, Any],
        **more: Any,  # noqa: ANN401 - parameters of Query
    ) -> "Iterator[Item]":
        """The items that meet the key condition, page by page, in the order of the table or index."""
        client = self._client("dynamodb")
        query: dict[str, Any] = {
            "TableName": self.table_name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_item(values),
            **({"IndexName": index} if index else {}),
            **more,
        }
        where = f"index {index} of table {self.table_name}" if index else f"table {self.table_name}"
        while True:
            page = self._call(lambda: client.query(**query), where)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _write(self, puts: Sequence[Put]) -> "dict[str, Any] | None":
        """None if all items were written; else, and then none was, the first item as it is now (empty if it is gone).

        Only the first put has a revision: a claim, or an email, which guards the entries beside it.
        """
        write_id = runtime().unique_id()
        items = _items(puts, write_id)
        for round_ in range(_CONFLICT_ROUNDS):
            try:
                self._put_all(puts, items)
            except ClientError as error:
                if existing := _items_in_the_way(error):
                    # The first of them may be of this very call: its answer was lost, and botocore made it again.
                    return None if _is_of(existing[0], write_id) else from_item(existing[0])
                if not _is_conflict(error) or round_ == _CONFLICT_ROUNDS - 1:
                    raise
                runtime().sleep(runtime().uniform(0, _CONFLICT_PAUSE_SECONDS * (round_ + 1)))
            else:
                return None
        raise AssertionError("the last round returns or raises")

    def _write_together(self, puts: Sequence[Put]) -> bool:
        """Whether all items were written, each of which has a revision; none was if one of them had changed."""
        write_id = runtime().unique_id()
        try:
            self._put_all(puts, _items(puts, write_id))
        except ClientError as error:
            existing = _items_in_the_way(error)
            if not existing and not _is_conflict(error):
                raise
            return bool(existing) and all(_is_of(item, write_id) for item in existing)
        return True

    def _put_all(self, puts: Sequence[Put], items: "Sequence[Item]") -> None:
        client, kept = self._client("dynamodb"), {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        calls: Any = [
            {"TableName": self.table_name, "Item": item, **kept, **_condition(put)}
            for put, item in zip(puts, items, strict=True)
        ]
        if len(calls) == 1:
            self._call(lambda: client.put_item(**calls[0]))
        else:
            self._call(lambda: client.transact_write_items(TransactItems=[{"Put": call} for call in calls]))

    def _call(self, call: "Callable[[], Any]", where: str = "") -> Any:  # noqa: ANN401 - answers of boto3
        """The answer of DynamoDB; its `Date` sets the table's clock.

        Raises:
            PermissionMissingError: DynamoDB refused the call.
        """
        sent_at = runtime().monotonic()
        with self._naming_permission("dynamodb", where or f"table {self.table_name}"):
            try:
                answer = call()
            except ClientError as error:
                self._clock.answered(error.response["ResponseMetadata"].get("HTTPHeaders", {}), sent_at)
                raise
        self._clock.answered(answer["ResponseMetadata"]["HTTPHeaders"], sent_at)
        return answer


def to_item(attributes: Mapping[str, Any]) -> "Item":
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in attributes.items()}


def from_item(item: "Mapping[str, AttributeValueTypeDef]") -> dict[str, Any]:
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}


def entry_key(bucket: str, key: str, version: str) -> Key:
    return Key(f"{bucket}/{key}", version)


def entry_attributes(entry: LedgerEntry) -> dict[str, Any]:
    """The entry as an item of the table, in the index of its month."""
    return {
        "file": f"{entry.bucket}/{entry.key}",
        "month": utc_text(entry.claimed_at)[:7],
        **entry.model_dump(mode="json", exclude_none=True),
    }


def to_entry(attributes: Mapping[str, Any]) -> LedgerEntry:
    """The entry of an item.

    Raises:
        ValidationError: it is none; another program has written it.
    """
    if attributes.get("status") == "loaded":  # version 0.1: its rows were in the table, the file had not moved yet
        attributes = {**attributes, "status": "loading"}
    return LedgerEntry.model_validate(attributes)


def valid_entries(items: "Iterable[Item]") -> Iterator[LedgerEntry]:
    """The entries of these items; an item that does not validate is logged and left out.

    One invalid item, which another program has written, must not fail every sweep.
    """
    for item in items:
        try:
            yield to_entry(from_item(item))
        except ValidationError as error:
            _LOG.warning("the ledger's item %s is not a valid entry and is left out: %s", item["file"], error)


def _key_item(key: Key) -> "Item":
    return to_item({"file": key.file, "version": key.version})


def _without_none(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _condition(put: Put) -> dict[str, Any]:
    if put.revision:
        return {
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeValues": to_item({":revision": put.revision}),
        }
    if put.as_read:
        return _as_read(put.as_read)
    if put.revision is None and put.as_read is None:
        return {}
    return {"ConditionExpression": "attribute_not_exists(#file)", "ExpressionAttributeNames": {"#file": "file"}}


def _as_read(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The condition that an entry has not changed: every change of one changes its status, or the epoch of its load."""
    names = ("status", "epoch")
    known = {f":{name}": attributes[name] for name in names if name in attributes}
    tests = [f"#{name} = :{name}" if f":{name}" in known else f"attribute_not_exists(#{name})" for name in names]
    return {
        "ConditionExpression": " AND ".join(tests),
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
        **({"ExpressionAttributeValues": to_item(known)} if known else {}),
    }


def _items(puts: Iterable[Put], write_id: str) -> "list[Item]":
    return [to_item({**_without_none(put.attributes), "write_id": write_id}) for put in puts]


def _is_of(item: "Item", write_id: str) -> bool:
    return item.get("write_id") == {"S": write_id}


def _items_in_the_way(error: ClientError) -> "list[Item]":
    """The items as they are, empty where there is none, if a condition failed; no list element for another error.

    An item of a transaction is empty too if its own condition held.
    """
    response: Any = error.response
    if response["Error"]["Code"] == "ConditionalCheckFailedException":
        return [response.get("Item", {})]  # botocore puts the item beside "Error"
    reasons = response.get("CancellationReasons", [])
    if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
        return [reason.get("Item", {}) for reason in reasons]  # likewise
    return []


def _is_conflict(error: ClientError) -> bool:
    """Whether another transaction was at work on the same item, or too many were: the same call may succeed soon.

    Source: "TransactWriteItems" and "PutItem", Amazon DynamoDB API reference (TransactionConflict).
    """
    response: Any = error.response
    if response["Error"]["Code"] in ("TransactionConflictException", "TransactionInProgressException"):
        return True
    codes = {reason.get("Code") for reason in response.get("CancellationReasons", [])} - {"None"}
    return bool(codes) and codes <= _CONFLICTS
