"""Responses to BatchWriteItem."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

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
            ValueError: a body with status 200 is not JSON, so it comes from something in between.
        """
        if status == 200:  # noqa: PLR2004 - OK
            if body == _ALL_ACKNOWLEDGED:
                return ALL_ACKNOWLEDGED
            tables = json.loads(body).get("UnprocessedItems") or {}
            return cls(status, [put for puts in tables.values() for put in puts])
        try:
            error = json.loads(body)
            code = str(error.get("__type", "")).rpartition("#")[2]
            return cls(status, code=code, message=str(error.get("message") or error.get("Message") or code))
        except (ValueError, AttributeError):
            return cls(status, code=f"Http{status}", message=body[:200].decode(errors="replace"))

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
