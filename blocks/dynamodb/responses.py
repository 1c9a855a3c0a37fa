"""Responses to BatchWriteItem."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from blocks.dynamodb.errors import NoResponseError

THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Source: "Error handling with DynamoDB", Amazon DynamoDB developer guide, and botocore's list of throttling errors."""

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
RETRYABLE: Final = frozenset({"InternalServerError", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable"})
INVALID: Final = "ValidationException"
OPERATION: Final = "BatchWriteItem"

_ALL_ACKNOWLEDGED: Final = b'{"UnprocessedItems":{}}'
_SHOWN_BYTES: Final = 200
"""Bytes that an error shows of a body that is none of DynamoDB's."""


@dataclass(frozen=True)
class Response:
    """The status, and either the unprocessed items or the error."""

    status: int
    unprocessed: list[Any] = field(default_factory=list)
    """`PutRequest`s as they were sent."""
    code: str = ""
    message: str = ""

    @classmethod
    def parse(cls, status: int, body: bytes) -> "Response":
        """The response in DynamoDB's JSON.

        Raises:
            NoResponseError: it is not from DynamoDB, but from something in between: a status that DynamoDB does not
                send, or a 200 that does not say which items it leaves unprocessed.

        Source: "BatchWriteItem", Amazon DynamoDB API reference: without unprocessed items, the map is there and empty.
        """
        if body == _ALL_ACKNOWLEDGED and status == 200:  # noqa: PLR2004 - OK
            return ALL_ACKNOWLEDGED
        if status == 200:  # noqa: PLR2004 - OK
            return cls(status, _unprocessed_of(body))
        if status < 400:  # noqa: PLR2004 - the first of the errors
            raise NoResponseError(f"a response with status {status}, which DynamoDB does not send: {_shown(body)}")
        try:
            error = json.loads(body)
            code = str(error.get("__type", "")).rpartition("#")[2] or f"Http{status}"
            return cls(status, code=code, message=str(error.get("message") or error.get("Message") or code))
        except (ValueError, AttributeError, RecursionError):
            return cls(status, code=f"Http{status}", message=_shown(body))

    @property
    def throttled(self) -> bool:
        return self.code in THROTTLED

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.status >= 500 or self.code in RETRYABLE | EXPIRED  # noqa: PLR2004 - server errors

    def error(self) -> ClientError:
        """The error that boto3 raises for such a response."""
        response: Any = {
            "Error": {"Code": self.code, "Message": self.message},
            "ResponseMetadata": {"HTTPStatusCode": self.status},
        }
        return ClientError(response, OPERATION)


ALL_ACKNOWLEDGED: Final = Response(200)


def _unprocessed_of(body: bytes) -> list[Any]:
    """The `PutRequest`s of a body with status 200."""
    try:
        puts = [put for puts in json.loads(body)["UnprocessedItems"].values() for put in puts]
        if all(type(put["PutRequest"]["Item"]) is dict for put in puts):
            return puts
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    # Rows may be in the former, which `show_rows` keeps out of errors.
    shown = f"{len(body):,} bytes with UnprocessedItems" if b"UnprocessedItems" in body else _shown(body)
    raise NoResponseError(f"a response with status 200 that does not say what was written: {shown}")


def _shown(body: bytes) -> str:
    return repr(body[:_SHOWN_BYTES].decode(errors="replace"))
