"""One call to AWS as the proxy sees it: which service, which operation, with what in it."""

import base64
import binascii
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from boto3.dynamodb.types import TypeDeserializer

_DESERIALIZER = TypeDeserializer()

S3_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


@dataclass(frozen=True)
class Call:
    """A request on its way from a part of the system to AWS."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    client_port: int
    """The port at the caller's end, which leads to the process that calls."""

    @cached_property
    def service(self) -> str:
        """`dynamodb`, `sqs`, `ses` or `s3`."""
        target = self.headers.get("x-amz-target", "")
        if target.startswith("DynamoDB"):
            return "dynamodb"
        if target.startswith("AmazonSQS"):
            return "sqs"
        return "ses" if self.path.startswith("/v2/email/") else "s3"

    @cached_property
    def operation(self) -> str:
        """The name that AWS has for it, such as `PutItem` or `CopyObject`."""
        if target := self.headers.get("x-amz-target"):
            return target.rpartition(".")[2]
        if self.service == "ses":
            return "SendEmail" if self.path.endswith("/outbound-emails") else "Ses"
        if self.method == "PUT" and "x-amz-copy-source" in self.headers:
            return "CopyObject"
        if self.method == "GET" and "list-type=" in self.path:
            return "ListObjectsV2"
        return S3_OPERATIONS.get(self.method, self.method)

    @cached_property
    def key(self) -> str:
        """The object that an S3 call is about."""
        return unquote(self.path.partition("?")[0].removeprefix("/").partition("/")[2])

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What is in a JSON body; nothing of what is not JSON."""
        try:
            found: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return {}
        return found

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """The whole items that a call to DynamoDB writes one by one or in a transaction, each as a plain document."""
        parts = [self.parameters, *(part.get("Put", {}) for part in self.parameters.get("TransactItems", []))]
        return [_document(part["Item"]) for part in parts if "Item" in part]

    @cached_property
    def keys_read(self) -> list[dict[str, Any]]:
        """The keys of the items that a BatchGetItem asks for."""
        asked = self.parameters.get("RequestItems", {}).values() if self.operation == "BatchGetItem" else ()
        return [_document(key) for table in asked for key in table["Keys"]]

    @cached_property
    def text(self) -> str:
        """All that the call says in readable form: address, body, and the mail in it."""
        said = f"{unquote(self.path)} {unquote(self.headers.get('x-amz-copy-source', ''))} "
        said += self.body.decode("utf-8", errors="replace")
        data = self.parameters.get("Content", {}).get("Raw", {}).get("Data") if self.service == "ses" else None
        if data:
            with suppress(binascii.Error):
                said += base64.b64decode(data).decode("utf-8", errors="replace")
        return said


def _document(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _DESERIALIZER.deserialize(value) for name, value in item.items()}
