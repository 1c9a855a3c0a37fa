"""Calls and answers of AWS as short text, for the trace."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

LONGEST_VALUE = 160
LONGEST_MEMBER = 60
_PLACEHOLDER = re.compile(r"[#:]\w+")
_EXPRESSIONS = {
    "UpdateExpression": "{}",
    "KeyConditionExpression": "where {}",
    "FilterExpression": "filter {}",
    "ConditionExpression": "if {}",
}
_IDENTIFYING = ("file", "version")
"""All that is shown of an item that is put: what it changes is a step of its own."""
_NOT_SHOWN = {
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
    "ClientRequestToken",
    "ReturnValues",
    "ContentType",
    "ReturnConsumedCapacity",
    *_EXPRESSIONS,
}


def call_text(parameters: Mapping[str, Any]) -> str:
    """What a call asks for."""
    parts = [_parameter(name, value) for name, value in parameters.items() if name not in _NOT_SHOWN]
    parts += [
        form.format(_filled_in(parameters[name], parameters))
        for name, form in _EXPRESSIONS.items()
        if name in parameters
    ]
    return " ".join(filter(None, parts))


def answer_text(answer: object) -> str:
    """What the answer says, without what every answer has."""
    if isinstance(answer, ClientError):
        return _error_text(answer)
    if isinstance(answer, Mapping):
        return value_text({name: each for name, each in answer.items() if name != "ResponseMetadata"}) or "ok"
    return value_text(answer)


def change_text(
    table: str, key: tuple[object, ...], old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> str:
    """What a write has changed in an item."""
    where = f"    {table} {' '.join(map(str, key))}"
    if new is None:
        return f"{where}: removed" if old else f"{where}: was not there"
    before = old or {}
    names = [name for name in dict.fromkeys([*before, *new]) if before.get(name) != new.get(name)]
    changes = [f"{name} {_shown(before.get(name))} > {_shown(new.get(name))}" for name in names]
    if old is None:
        changes = [
            f"{name} {_shown(value)}" for name, value in new.items() if _shown(value) not in (*map(str, key), "0")
        ]
    return f"{where}: {', '.join(changes) or 'as before'}" if old is not None else f"{where}: new, {', '.join(changes)}"


def value_text(value: object) -> str:
    """A value as short text; DynamoDB's types are left out."""
    text = _text(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _parameter(name: str, value: object) -> str:
    if name in ("TableName", "Bucket", "QueueUrl"):
        return str(value).rsplit("/", maxsplit=1)[-1]
    if name == "Key":
        return _key_text(value)
    if name == "Item" and isinstance(value, Mapping) and value.keys() & set(_IDENTIFYING):
        return " ".join(_text(value[each]) for each in _IDENTIFYING if each in value)
    if name == "TransactItems" and isinstance(value, Sequence):
        return "[" + "; ".join(f"{kind} {call_text(each)}" for one in value for kind, each in one.items()) + "]"
    return f"{name}={value_text(value)}"


def _key_text(key: object) -> str:
    return " ".join(_text(each) for each in key.values()) if isinstance(key, Mapping) else str(key)


def _shown(value: object) -> str:
    """A value as it was before or is after a change."""
    text = "-" if value is None else _text(value)
    return text if len(text) <= LONGEST_MEMBER else f"{text[:LONGEST_MEMBER]}…"


def _filled_in(expression: str, parameters: Mapping[str, Any]) -> str:
    """The expression with its names and values in it."""
    names = parameters.get("ExpressionAttributeNames", {})
    values = parameters.get("ExpressionAttributeValues", {})

    def meant(found: re.Match[str]) -> str:
        placeholder = found[0]
        return str(names.get(placeholder, placeholder)) if placeholder[0] == "#" else _text(values.get(placeholder))

    return _PLACEHOLDER.sub(meant, expression)


def _error_text(error: ClientError) -> str:
    response: dict[str, Any] = dict(error.response)
    text = str(response["Error"]["Code"])
    if "CancellationReasons" in response:
        reasons = [
            f"{each['Code']} {_text(each['Item']) if 'Item' in each else ''}"
            for each in response["CancellationReasons"]
        ]
        return f"{text}: {'; '.join(map(str.strip, reasons))}"
    return f"{text}: found {_text(response['Item'])}" if "Item" in response else text


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return _mapping_text(value)
    if isinstance(value, datetime):
        return f"{value:%H:%M:%S}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value)


def _mapping_text(value: Mapping[str, Any]) -> str:
    if len(value) == 1:
        ((kind, content),) = value.items()
        if kind in ("S", "N", "M", "L", "BOOL"):
            return _text(content)
    return "{" + ", ".join(f"{name}: {_text(each)}" for name, each in value.items()) + "}" if value else ""
