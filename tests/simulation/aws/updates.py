"""What an update expression makes of an item."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.aws.expressions import (
    CompiledUpdate,
    Context,
    InvalidExpressionError,
    Item,
    Path,
    Value,
    added,
    resolved,
)

_NO_PATH = "The document path provided in the update expression is invalid for update"


def updated(expression: CompiledUpdate, context: Context, key: frozenset[str]) -> Item:
    """A new item: all values are taken from the old one, which stays as it is.

    Raises:
        InvalidExpressionError: DynamoDB refuses the update.
    """
    changes = [(each.action, resolved(each.path, context.names), each.value(context)) for each in expression.changes]
    _check([path for _, path, _ in changes], key)
    item = dict(context.item)
    for action, path, value in changes:
        _change(item, action, path, value)
    return item


def _check(paths: Sequence[Path], key: frozenset[str]) -> None:
    for number, path in enumerate(paths):
        if path[0] in key:
            raise InvalidExpressionError(f"Cannot update attribute {path[0]}. This attribute is part of the key")
        for other in paths[:number]:
            length = min(len(path), len(other))
            if path[:length] == other[:length]:
                raise InvalidExpressionError("Two document paths overlap with each other")


def _change(item: Item, action: str, path: Path, value: Value | None) -> None:
    holder, last = _holder(item, path)
    old = _member(holder, last)
    if action == "ADD":
        value = _added(old, value)
    elif action == "DELETE":
        value = _without(old, value)
    if value is not None:
        _set(holder, last, value)
    elif old is not None:
        del holder[last]


def _holder(item: Item, path: Path) -> tuple[Any, Any]:
    """The dictionary or list that the last part of the path is in; what leads to it is copied."""
    holder: Any = item
    for part in path[:-1]:
        found = _member(holder, part)
        if found is None or not found.keys() & {"M", "L"}:
            raise InvalidExpressionError(_NO_PATH)
        ((kind, content),) = found.items()
        copied = dict(content) if kind == "M" else list(content)
        holder[part] = {kind: copied}
        holder = copied
    if isinstance(path[-1], int) != isinstance(holder, list):
        raise InvalidExpressionError(_NO_PATH)
    return holder, path[-1]


def _member(holder: Any, part: Any) -> Any:  # noqa: ANN401 - a dictionary and a name, or a list and a number
    if isinstance(holder, list):
        return holder[part] if isinstance(part, int) and part < len(holder) else None
    return holder.get(part)


def _set(holder: Any, last: Any, value: Value) -> None:  # noqa: ANN401 - as above
    if isinstance(holder, list) and last >= len(holder):
        holder.append(value)
    else:
        holder[last] = value


def _added(old: Value | None, value: Value | None) -> Value:
    assert value is not None
    if "N" in value:
        return added(old or {"N": "0"}, value)
    ((kind, members),) = value.items()
    return {kind: list(dict.fromkeys([*_members(old, kind), *members]))}


def _without(old: Value | None, value: Value | None) -> Value | None:
    assert value is not None
    ((kind, members),) = value.items()
    kept = [each for each in _members(old, kind) if each not in members]
    return {kind: kept} if kept else None


def _members(value: Mapping[str, Any] | None, kind: str) -> list[Any]:
    return [] if value is None else list(value.get(kind, ()))
