"""A fake of DynamoDB: conditions, transactions, and indexes that lag behind.

Known differences: reserved words are accepted in expressions, items have no size, and requests are never throttled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from botocore.exceptions import ClientError

from tests.simulation.aws.expressions import (
    CompiledCondition,
    Context,
    InvalidExpressionError,
    Item,
    comparable,
    condition,
    found_at,
    paths,
    update,
)
from tests.simulation.aws.service import FakeService
from tests.simulation.aws.tables import Index, Key, Table
from tests.simulation.aws.updates import updated
from tests.simulation.network import Deferred, Network
from tests.simulation.readable import change_text

_NAMES: Final = "ExpressionAttributeNames"
_VALUES: Final = "ExpressionAttributeValues"
_CONDITIONAL: Final = frozenset({"ConditionExpression", _NAMES, _VALUES, "ReturnValuesOnConditionCheckFailure"})
_WRITE: Final = _CONDITIONAL | {"TableName", "ReturnValues"}
_READ: Final = frozenset({"ConsistentRead", "ProjectionExpression", _NAMES})
_CONFLICT: Final = "Transaction is ongoing for the item"
_FAILED: Final = "The conditional request failed"

MOST_ACTIONS: Final = 100
"""Source: "TransactWriteItems" and "BatchGetItem", Amazon DynamoDB API reference."""

TOKEN_SECONDS: Final = 600.0
"""For how long a repeated transaction with the same token has no effect. Source: as above."""


@dataclass(frozen=True)
class _Action:
    """One write: of a call of its own or of a transaction."""

    operation: str
    table: Table
    key: Key
    call: Mapping[str, Any]
    change: Callable[[Item | None], Item | None]
    """The new item, from the old one."""
    caller: str
    """The process that asked for it."""


class DynamoDb(FakeService):
    """Tables in memory. A call that the test itself makes is seen everywhere at once."""

    name = "dynamodb"
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {
        "get_item": _READ | {"TableName", "Key"},
        "put_item": _WRITE | {"Item"},
        "update_item": _WRITE | {"Key", "UpdateExpression"},
        "delete_item": _WRITE | {"Key"},
        "query": _READ
        | {
            "TableName",
            "IndexName",
            "KeyConditionExpression",
            "FilterExpression",
            _VALUES,
            "ScanIndexForward",
            "Limit",
            "ExclusiveStartKey",
            "Select",
        },
        "batch_get_item": frozenset({"RequestItems"}),
        "transact_write_items": frozenset({"TransactItems", "ClientRequestToken"}),
    }
    paginated: ClassVar[Mapping[str, tuple[str, str]]] = {"query": ("ExclusiveStartKey", "LastEvaluatedKey")}

    def __init__(self, network: Network, *, page_items: int = 100) -> None:
        super().__init__(network)
        self.tables: dict[str, Table] = {}
        self.page_items = page_items
        """How many items a page of a query holds, as a megabyte does in DynamoDB."""
        self.on_written: list[Callable[[str, Sequence[Key]], object]] = []
        """Called with the process that asked for it and the keys, when a write has been done."""
        self._in_progress: set[str] = set()
        self._done: dict[str, tuple[float, Sequence[Any]]] = {}
        self._tokens = 0

    def prepared(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """With the token that botocore adds to a transaction, the same for all attempts."""
        if operation == "transact_write_items" and "ClientRequestToken" not in parameters:
            self._tokens += 1
            parameters["ClientRequestToken"] = f"token-{self._tokens}"
        return parameters

    def create_table(
        self,
        name: str,
        hash_key: str,
        range_key: str,
        indexes: Mapping[str, tuple[str, str, Sequence[str] | None]] | None = None,
        numbers: Sequence[str] = (),
    ) -> Table:
        """A new table.

        Args:
            name: its name.
            hash_key: its hash key.
            range_key: its range key.
            indexes: hash key, range key and projected attributes by name of the index; None projects all.
            numbers: which of all these keys are numbers; the others are texts.
        """
        table = Table(name, hash_key, range_key)
        for index_name, (index_hash, index_range, projected) in (indexes or {}).items():
            keys = {hash_key, range_key, index_hash, index_range}
            projection = None if projected is None else frozenset(keys | set(projected))
            table.indexes[index_name] = Index(index_name, index_hash, index_range, projection)
            table.types |= dict.fromkeys(keys, "S")
        table.types |= {hash_key: "S", range_key: "S"} | dict.fromkeys(numbers, "N")
        self.tables[name] = table
        return table

    # ---- Reads ----------------------------------------------------------------------------------------------------

    def get_item(self, call: Mapping[str, Any]) -> dict[str, Any]:
        found = self._read(self._table("get_item", call), call["Key"], call, "get_item")
        return self.answer() if found is None else self.answer(Item=found)

    def batch_get_item(self, call: Mapping[str, Any]) -> dict[str, Any]:
        responses: dict[str, list[Item]] = {}
        unprocessed: dict[str, Any] = {}
        for name, request in call["RequestItems"].items():
            table = self._table("batch_get_item", {"TableName": name})
            keys = request["Keys"]
            if len({table.key_of(each) for each in keys}) < len(keys) or len(keys) > MOST_ACTIONS:
                raise self._invalid("batch_get_item", "Provided list of item keys contains duplicates")
            responses[name] = []
            taken = self._processed(keys)
            found = [self._read(table, each, request, "batch_get_item") for each in keys[:taken]]
            responses[name] += [item for item in found if item is not None]
            if taken < len(keys):
                unprocessed[name] = {**request, "Keys": keys[taken:]}
        return self.answer(Responses=responses, UnprocessedKeys=unprocessed)

    def query(self, call: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table("query", call)
        index = table.indexes.get(call["IndexName"]) if "IndexName" in call else None
        if "IndexName" in call and index is None:
            raise self._invalid("query", "The table does not have the specified index: " + call["IndexName"])
        if index and call.get("ConsistentRead"):
            raise self._invalid("query", "Consistent reads are not supported on global secondary indexes")
        key_condition = self._key_condition(call)
        hash_value = self._hash_value(key_condition, call, (index or table).hash_key)
        if index:
            found = index.partition(hash_value, self.scheduler.now)
        else:
            consistent = bool(call.get("ConsistentRead")) or not self._reads_stale()
            found = table.partition(hash_value, self.scheduler.now, consistent=consistent)
        return self._page(call, table, index, found, key_condition)

    def _page(
        self,
        call: Mapping[str, Any],
        table: Table,
        index: Index | None,
        partition: Mapping[Key, Item],
        key_condition: CompiledCondition,
    ) -> dict[str, Any]:
        names, values = call.get(_NAMES, {}), call.get(_VALUES, {})
        order = (index or table).range_key
        rows = [
            ((comparable(item[order]), key), item)
            for key, item in partition.items()
            if key_condition.holds(Context(item, names, values))
        ]
        backwards = not call.get("ScanIndexForward", True)
        rows.sort(key=lambda row: row[0], reverse=backwards)
        if start := call.get("ExclusiveStartKey"):
            after = (comparable(start[order]), table.key_of(start))
            rows = [row for row in rows if (row[0] < after if backwards else row[0] > after)]
        limit = min(call.get("Limit", self.page_items), self.page_items)
        # A page that is full by `Limit` leads to another one, also if that is empty.
        has_more = len(rows) > limit or ("Limit" in call and len(rows) == limit)
        page = [item for _, item in rows[:limit]]
        scanned = len(page)
        more: dict[str, Any] = {"LastEvaluatedKey": _key_attributes(page[-1], table, index)} if has_more else {}
        if "FilterExpression" in call:
            kept = condition(call["FilterExpression"]).holds
            page = [item for item in page if kept(Context(item, names, values))]
        shown: dict[str, Any] = (
            {} if call.get("Select") == "COUNT" else {"Items": [self._projected(item, call) for item in page]}
        )
        return self.answer(**shown, Count=len(page), ScannedCount=scanned, **more)

    def _key_condition(self, call: Mapping[str, Any]) -> CompiledCondition:
        texts = ("KeyConditionExpression", "FilterExpression", "ProjectionExpression")
        self._check_placeholders("query", call, texts)
        try:
            return condition(call["KeyConditionExpression"])
        except InvalidExpressionError as error:
            raise self._invalid("query", f"Invalid KeyConditionExpression: {error}") from error

    def _hash_value(self, compiled: CompiledCondition, call: Mapping[str, Any], hash_key: str) -> Any:  # noqa: ANN401 - text or number
        for name, value in compiled.equalities:
            if call.get(_NAMES, {}).get(name, name) == hash_key:
                return comparable(call[_VALUES][value])
        raise self._invalid("query", f"Query condition missed key schema element: {hash_key}")

    def _read(self, table: Table, key: Mapping[str, Any], call: Mapping[str, Any], operation: str) -> Item | None:
        self._check_key(operation, table, key)
        consistent = call.get("ConsistentRead") or not self._reads_stale()
        at = table.key_of(key)
        found = table.get(at) if consistent else table.get_before(at, self.scheduler.now)
        return None if found is None else self._projected(found, call)

    def _projected(self, item: Item, call: Mapping[str, Any]) -> Item:
        if "ProjectionExpression" not in call:
            return dict(item)
        projected, _ = paths(call["ProjectionExpression"])
        names = call.get(_NAMES, {})
        found = {names.get(path[0], path[0]): found_at(path[:1], Context(item, names, {})) for path in projected}
        return {str(name): value for name, value in found.items() if value is not None}

    def _reads_stale(self) -> bool:
        return not self.network.direct and self.random.random() < 0.5

    def _processed(self, keys: Sequence[Any]) -> int:
        """How many keys of a batch are read: now and then not all of them."""
        if self.network.direct or self.random.random() > 0.02:
            return len(keys)
        return self.random.randint(0, len(keys) - 1)

    # ---- Writes ---------------------------------------------------------------------------------------------------

    def put_item(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return self._write(self._action("put_item", call))

    def update_item(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return self._write(self._action("update_item", call))

    def delete_item(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return self._write(self._action("delete_item", call))

    def transact_write_items(self, call: Mapping[str, Any]) -> dict[str, Any] | Deferred:
        operation, token = "transact_write_items", call.get("ClientRequestToken", "")
        if token in self._in_progress:
            code = "TransactionInProgressException"
            raise self.error(operation, code, "The transaction with the given request token is already in progress.")
        if self._was_done(token, call["TransactItems"]):
            return self.answer()
        actions = [
            self._action(_OPERATIONS[kind], request) for each in call["TransactItems"] for kind, request in each.items()
        ]
        self._check_transaction(actions)
        self._cancel_on_conflict(actions)
        news = self._prepared_items(actions)
        for action in actions:
            action.table.locks.add(action.key)
        self._in_progress.add(token)
        steps: list[Callable[[], None]] = [
            partial(self._store, action, new) for action, new in zip(actions, news, strict=True)
        ]
        return self.after(self._transaction_seconds(), partial(self._commit, call, actions, steps))

    def _commit(
        self, call: Mapping[str, Any], actions: Sequence[_Action], steps: list[Callable[[], None]]
    ) -> dict[str, Any] | Deferred:
        """Write the items: mostly at once, sometimes one after the other, which plain reads can see.

        Source: "Isolation levels for transactions", Amazon DynamoDB developer guide: BatchGetItem and Query are not
        serializable with a transaction as a unit.
        """
        token = call.get("ClientRequestToken", "")
        if self.network.direct or self.random.random() < 0.8:
            for step in steps:
                step()
            return self._committed(token, call, actions)
        self.random.shuffle(steps)
        at = self.scheduler.now
        for step in steps:
            self.scheduler.at(at, step)
            at += self.random.random() * 0.05
        return self.after(at - self.scheduler.now + 1e-6, partial(self._committed, token, call, actions))

    def _committed(self, token: str, call: Mapping[str, Any], actions: Sequence[_Action]) -> dict[str, Any]:
        for action in actions:
            action.table.locks.discard(action.key)
        self._in_progress.discard(token)
        if token:
            self._done[token] = (self.scheduler.now + TOKEN_SECONDS, call["TransactItems"])
        self._tell(actions)
        return self.answer()

    def _was_done(self, token: str, items: Sequence[Any]) -> bool:
        until, done = self._done.get(token, (0.0, ()))
        if until <= self.scheduler.now:
            return False
        if done is not items and done != items:
            code = "IdempotentParameterMismatchException"
            raise self.error("transact_write_items", code, "Another transaction has the same token")
        return True

    def _check_transaction(self, actions: Sequence[_Action]) -> None:
        if len({(action.table.name, action.key) for action in actions}) < len(actions):
            message = "Transaction request cannot include multiple operations on one item"
            raise self._invalid("transact_write_items", message)
        if len(actions) > MOST_ACTIONS:
            message = "Member must have length less than or equal to 100"
            raise self._invalid("transact_write_items", message)

    def _cancel_on_conflict(self, actions: Sequence[_Action]) -> None:
        conflict = {"Code": "TransactionConflict", "Message": _CONFLICT}
        reasons = [conflict if action.key in action.table.locks else {"Code": "None"} for action in actions]
        self._cancel_for(reasons)

    def _prepared_items(self, actions: Sequence[_Action]) -> list[Item | None]:
        """The new items, if all conditions hold."""
        reasons = [self._refusal(action) or {"Code": "None"} for action in actions]
        self._cancel_for(reasons)
        return [action.change(action.table.get(action.key)) for action in actions]

    def _cancel_for(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        codes = [each["Code"] for each in reasons]
        if set(codes) <= {"None"}:
            return
        listed = ", ".join(codes)
        message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{listed}]"
        code = "TransactionCanceledException"
        raise self.error("transact_write_items", code, message, Message=message, CancellationReasons=list(reasons))

    def _transaction_seconds(self) -> float:
        """Between the check of the conditions and the writes; mostly short, so that few transactions meet."""
        return 0.4 * self.random.random() ** 6

    def _write(self, action: _Action) -> dict[str, Any]:
        if action.key in action.table.locks:
            raise self.error(action.operation, "TransactionConflictException", _CONFLICT)
        if refusal := self._refusal(action):
            found = {"Item": refusal["Item"]} if "Item" in refusal else {}
            code = "ConditionalCheckFailedException"
            raise self.error(action.operation, code, _FAILED, **found)
        old = action.table.get(action.key)
        new = action.change(old)
        self._store(action, new)
        self._tell([action])
        match action.call.get("ReturnValues"):
            case "ALL_OLD" if old is not None:
                return self.answer(Attributes=dict(old))
            case "ALL_NEW":
                return self.answer(Attributes=dict(new or {}))
            case "UPDATED_NEW" | "UPDATED_OLD" as unknown:
                raise NotImplementedError(unknown)
            case _:
                return self.answer()

    def _store(self, action: _Action, new: Item | None) -> None:
        if action.operation != "condition_check":
            old = action.table.get(action.key)
            action.table.write(action.key, new, self.scheduler.now, self._lags())
            self.scheduler.log(action.caller, change_text, action.table.name, action.key, old, new)

    def _tell(self, actions: Sequence[_Action]) -> None:
        for told in self.on_written:
            told(actions[0].caller, [action.key for action in actions])

    def _lags(self) -> Iterator[float]:
        while True:
            yield 0.0 if self.network.direct else self.network.faults.index_lag(self.random)

    def _refusal(self, action: _Action) -> dict[str, Any] | None:
        """The reason if the condition does not hold, with the item if the call asks for it."""
        call = action.call
        text = call.get("ConditionExpression")
        if text is None:
            return None
        item = action.table.get(action.key)
        if condition(text).holds(Context(item or {}, call.get(_NAMES, {}), call.get(_VALUES, {}))):
            return None
        wanted = call.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and item is not None
        return {"Code": "ConditionalCheckFailed", "Message": _FAILED, **({"Item": dict(item or {})} if wanted else {})}

    def _action(self, operation: str, call: Mapping[str, Any]) -> _Action:
        """The write that a call, or a part of a transaction, asks for."""
        table = self._table(operation, call)
        self._check_placeholders(operation, call, ("ConditionExpression", "UpdateExpression"))
        key = call["Item"] if operation == "put_item" else call["Key"]
        self._check_key(operation, table, key)
        change: Callable[[Item | None], Item | None]
        match operation:
            case "put_item":
                item = dict(call["Item"])
                self._check_types(operation, table, item)
                change = lambda _: item  # noqa: E731 - one of four
            case "update_item":
                change = partial(self._changed, table, call)
            case "delete_item":
                change = lambda _: None  # noqa: E731 - as above
            case _:
                change = lambda old: old  # noqa: E731 - as above
        caller = self.network.caller
        return _Action(operation, table, table.key_of(key), call, change, caller.name if caller else "test")

    def _changed(self, table: Table, call: Mapping[str, Any], old: Item | None) -> Item:
        context = Context(old or call["Key"], call.get(_NAMES, {}), call.get(_VALUES, {}))
        try:
            new = updated(update(call.get("UpdateExpression", "")), context, frozenset(call["Key"]))
        except InvalidExpressionError as error:
            raise self._invalid("update_item", str(error)) from error
        self._check_types("update_item", table, new)
        return new

    # ---- Checks ---------------------------------------------------------------------------------------------------

    def _table(self, operation: str, call: Mapping[str, Any]) -> Table:
        table = self.tables.get(call["TableName"])
        if table is None:
            code = "ResourceNotFoundException"
            raise self.error(operation, code, "Requested resource not found")
        return table

    def _check_key(self, operation: str, table: Table, key: Mapping[str, Any]) -> None:
        for name in (table.hash_key, table.range_key):
            if name not in key or table.types[name] not in key[name] or not key[name][table.types[name]]:
                raise self._invalid(operation, "The provided key element does not match the schema")
        if operation not in ("put_item", "query") and len(key) != 2:
            raise self._invalid(operation, "The provided key element does not match the schema")

    def _check_types(self, operation: str, table: Table, item: Item) -> None:
        """Keys of indexes have the declared types, and are not empty."""
        for name, kind in table.types.items():
            if name in item and not item[name].get(kind):
                message = f"Type mismatch for Index Key {name} Expected: {kind} Actual: {next(iter(item[name]))}"
                raise self._invalid(operation, f"One or more parameter values were invalid: {message}")

    def _check_placeholders(self, operation: str, call: Mapping[str, Any], texts: Sequence[str]) -> None:
        """All names and values of the call are used, and all that are used are there."""
        used: set[str] = set()
        try:
            for name in texts:
                if name in call:
                    used |= _COMPILE[name](call[name])
        except InvalidExpressionError as error:
            raise self._invalid(operation, f"Invalid {name}: {error}") from error
        given = set(call.get(_NAMES, ())) | set(call.get(_VALUES, ()))
        if missing := sorted(used - given):
            raise self._invalid(operation, f"An expression attribute used in expression is not defined: {missing[0]}")
        if unused := sorted(given - used):
            raise self._invalid(operation, f"Value unused in expressions: keys: {{{', '.join(unused)}}}")

    def _invalid(self, operation: str, message: str) -> ClientError:
        return self.error(operation, "ValidationException", message)


_OPERATIONS: Final = {
    "Put": "put_item",
    "Update": "update_item",
    "Delete": "delete_item",
    "ConditionCheck": "condition_check",
}

_COMPILE: Final[Mapping[str, Callable[[str], frozenset[str]]]] = {
    "ConditionExpression": lambda text: condition(text).placeholders,
    "KeyConditionExpression": lambda text: condition(text).placeholders,
    "FilterExpression": lambda text: condition(text).placeholders,
    "UpdateExpression": lambda text: update(text).placeholders,
    "ProjectionExpression": lambda text: paths(text)[1],
}


def _key_attributes(item: Item, table: Table, index: Index | None) -> Item:
    names = [table.hash_key, table.range_key, *([index.hash_key, index.range_key] if index else [])]
    return {name: item[name] for name in names}
