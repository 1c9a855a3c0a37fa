"""Calls and answers of AWS as short text, for the trace."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

LONGEST_VALUE = 160
_PLACEHOLDER = re.compile(r"[#:]\w+")
_EXPRESSIONS = {
    "UpdateExpression": "{}",
    "KeyConditionExpression": "where {}",
    "FilterExpression": "filter {}",
    "ConditionExpression": "if {}",
}
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


def value_text(value: object) -> str:
    """A value as short text; DynamoDB's types are left out."""
    text = _text(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _parameter(name: str, value: object) -> str:
    if name in ("TableName", "Bucket", "QueueUrl"):
        return str(value).rsplit("/", maxsplit=1)[-1]
    if name == "Key":
        return _key_text(value)
    if name == "TransactItems" and isinstance(value, Sequence):
        return "[" + "; ".join(f"{kind} {call_text(each)}" for one in value for kind, each in one.items()) + "]"
    return f"{name}={value_text(value)}"


def _key_text(key: object) -> str:
    return " ".join(_text(each) for each in key.values()) if isinstance(key, Mapping) else str(key)


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
