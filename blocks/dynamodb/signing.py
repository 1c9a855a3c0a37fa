"""AWS Signature Version 4 for BatchWriteItem requests.

botocore's signer is general: for each request it parses headers, path and query, and derives the key of the day. Here
only the body and the second change. A test compares both signers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from typing import Final, Protocol
from urllib.parse import quote

from blocks.domain.errors import CredentialsInvalidError

TARGET: Final = "DynamoDB_20120810.BatchWriteItem"
CONTENT_TYPE: Final = "application/x-amz-json-1.0"


class Credentials(Protocol):
    """An access key, such as botocore's `ReadOnlyCredentials`."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Signer:
    """Signs requests: it makes the headers of a request from its body.

    Source: "Create a signed AWS API request", AWS Identity and Access Management user guide.
    """

    host: str
    path: str
    region: str
    service: str
    user_agent: str
    now: Callable[[], datetime] = _now
    _day: tuple[str, str] = field(default=("", ""), repr=False)
    _days_key: bytes = field(default=b"", repr=False)

    def headers(self, body: bytes, credentials: Credentials) -> dict[str, str]:
        """The headers of the request, without those about the length of the body.

        Raises:
            CredentialsInvalidError: key or token contain a character that no header may have, such as a line break:
                what follows it would be a header of its own, and would be signed.
        """
        if not (credentials.access_key + (credentials.token or "")).isprintable():
            raise CredentialsInvalidError
        timestamp = self.now().strftime("%Y%m%dT%H%M%SZ")
        headers = {"content-type": CONTENT_TYPE, "host": self.host, "x-amz-date": timestamp}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        headers["x-amz-target"] = TARGET
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        names = ";".join(headers)
        canonical = f"POST\n{quote(self.path, safe='/~')}\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        scope = f"{timestamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = digest(self._key_of_the_day(credentials.secret_key, timestamp[:8]), text.encode(), sha256).hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope},"
            f" SignedHeaders={names}, Signature={signature}"
        )
        headers["user-agent"] = self.user_agent
        return headers

    def _key_of_the_day(self, secret: str, day: str) -> bytes:
        if self._day != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self.region, self.service, "aws4_request"):
                key = digest(key, part.encode(), sha256)
            self._day, self._days_key = (secret, day), key
        return self._days_key
