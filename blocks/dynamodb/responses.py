"""What an answer to BatchWriteItem says."""

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
PASSING: Final = frozenset({"InternalServerError", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable"})
INVALID: Final = "ValidationException"
OPERATION: Final = "BatchWriteItem"

_ALL_TAKEN: Final = b'{"UnprocessedItems":{}}'


@dataclass(frozen=True)
class Answer:
    """The status, and either the items that were not taken or what is wrong."""

    status: int
    unprocessed: list[Any] = field(default_factory=list)
    """`PutRequest`s, as they were sent."""
    code: str = ""
    message: str = ""

    @classmethod
    def parse(cls, status: int, body: bytes) -> "Answer":
        """The answer that DynamoDB's JSON says.

        Raises:
            ValueError: it is no JSON; something between here and DynamoDB has answered.
        """
        if status == 200:  # noqa: PLR2004 - OK
            if body == _ALL_TAKEN:
                return ALL_TAKEN
            tables = json.loads(body).get("UnprocessedItems") or {}
            return cls(status, [put for puts in tables.values() for put in puts])
        try:
            said = json.loads(body)
            code = str(said.get("__type", "")).rpartition("#")[2]
            return cls(status, code=code, message=str(said.get("message") or said.get("Message") or code))
        except (ValueError, AttributeError):
            return cls(status, code=f"Http{status}", message=body[:200].decode(errors="replace"))

    @property
    def throttled(self) -> bool:
        return self.code in THROTTLED

    @property
    def passing(self) -> bool:
        """Whether the same call may well succeed a little later."""
        return self.status >= 500 or self.code in PASSING | EXPIRED  # noqa: PLR2004 - server errors

    def error(self) -> ClientError:
        """The error that boto3 raises for such an answer."""
        said: Any = {
            "Error": {"Code": self.code, "Message": self.message},
            "ResponseMetadata": {"HTTPStatusCode": self.status},
        }
        return ClientError(said, OPERATION)


ALL_TAKEN: Final = Answer(200)
