"""How a request body gets to DynamoDB: the transport protocol, and the fast transport."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import SplitResult, unquote
from zlib import crc32

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    encode_basic_auth,
)
from aiohttp import ClientError as AiohttpError
from botocore.exceptions import SSLError
from yarl import URL

from blocks.dynamodb.errors import NoResponseError
from blocks.dynamodb.request_bodies import REQUEST_BYTES
from blocks.dynamodb.responses import Response
from blocks.dynamodb.signing import Credentials, Signer

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientResponse
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

NOT_SENT: Final = (ClientConnectorError, ConnectionTimeoutError, ClientHttpProxyError)
"""Errors of aiohttp without a connection to DynamoDB, so that it cannot have got the request."""

RESPONSE_BYTES: Final = 2 * REQUEST_BYTES
"""The longest body of a response: all items of a request unprocessed, in a longer JSON than ours."""

_READ_TIMEOUTS_IN_ALL: Final = 10
"""A whole exchange takes at most so many times as long as DynamoDB may be silent, however slowly an answer trickles."""

SERVER_ERROR: Final = 500
"""Statuses from here on leave open whether a write was executed, or will be.

Source: "Error handling with DynamoDB", Amazon DynamoDB developer guide. A proxy gives up in the same words.
"""


@dataclass(frozen=True)
class Endpoint:
    """Where DynamoDB is, and how it is reached."""

    url: SplitResult
    tls: ssl.SSLContext | None
    proxy: SplitResult | None
    connect_timeout_seconds: float
    response_timeout_seconds: float

    @property
    def host(self) -> str:
        """The host as URLs and the header `Host` have it: an IPv6 address in brackets."""
        host = self.url.hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.tls else 80)

    @property
    def proxy_headers(self) -> dict[str, str]:
        """The header that authenticates at the proxy; empty without a user name.

        User name and password are not in the URL of the proxy, because aiohttp shows that URL in its errors.
        """
        if not self.proxy or not self.proxy.username:
            return {}
        login = encode_basic_auth(unquote(self.proxy.username), unquote(self.proxy.password or ""))
        return {"Proxy-Authorization": login}


class Transport(Protocol):
    """Sends the bodies of BatchWriteItem calls to DynamoDB.

    It calls `fence` directly before each request goes out, after everything that it waits for; what that raises, `send`
    raises. It calls `on_unanswered` when a request that may have gone out has no answer that says what became of it.
    """

    async def send(self, body: bytes) -> Response:
        """The response of DynamoDB.

        Raises:
            NoResponseError: there was none; DynamoDB may have executed the call.
        """

    async def renew(self) -> None:
        """Get new credentials, as the old ones have expired."""

    async def close(self) -> None: ...


class FastTransport:
    """Kept-alive connections of aiohttp, and a signer for this one kind of request."""

    def __init__(
        self,
        endpoint: Endpoint,
        signer: Signer,
        credentials: Callable[[], Credentials],
        renew: Callable[[], Callable[[], Credentials]],
        *,
        fence: Callable[[], object],
        on_unanswered: Callable[[], object],
    ) -> None:
        self._endpoint, self._signer, self._credentials, self._renew = endpoint, signer, credentials, renew
        self._fence, self._on_unanswered = fence, on_unanswered
        self._url = URL(endpoint.url.geturl(), encoded=True)  # the path is sent as it was signed
        self._session: ClientSession | None = None

    async def send(self, body: bytes) -> Response:
        """The response of DynamoDB.

        Raises:
            NoResponseError: there was no complete response; DynamoDB may have executed the call.
            SSLError: the certificate of the server is not valid for the endpoint.
            CredentialsInvalidError: the credentials contain a character that no header may have.
        """
        try:
            response = await self._exchange(body)
        except ClientConnectorCertificateError as error:
            raise SSLError(endpoint_url=str(self._url), error=error.certificate_error) from error
        except NOT_SENT as error:
            raise _no_response(error) from error
        except (AiohttpError, OSError) as error:  # TimeoutError is an OSError
            self._on_unanswered()
            raise _no_response(error) from error
        except (asyncio.CancelledError, NoResponseError, ValueError):
            self._on_unanswered()
            raise
        if response.status >= SERVER_ERROR:
            self._on_unanswered()
        return response

    async def _exchange(self, body: bytes) -> Response:
        if self._session is None:
            self._session = self._open_session()
        headers = self._signer.headers(body, self._credentials())
        proxy_headers = self._endpoint.proxy_headers
        if not self._endpoint.tls:
            headers |= proxy_headers  # without TLS the proxy reads the request; with TLS, a CONNECT request before it
        response = await self._session.post(
            self._url, data=body, headers=headers, proxy_headers=proxy_headers, allow_redirects=False
        )
        content = await _bounded_body(response)
        if response.headers.get("x-amz-crc32", checksum := str(crc32(content))) != checksum:
            raise NoResponseError("the checksum of the response does not match")
        return Response.parse(response.status, content)

    def _open_session(self) -> ClientSession:
        endpoint, proxy = self._endpoint, self._endpoint.proxy
        connect, read = endpoint.connect_timeout_seconds, endpoint.response_timeout_seconds
        return ClientSession(
            connector=_FencedConnector(self._fence, endpoint.tls),
            proxy=URL.build(scheme="http", host=proxy.hostname or "", port=proxy.port) if proxy else None,
            timeout=ClientTimeout(total=connect + _READ_TIMEOUTS_IN_ALL * read, connect=connect, sock_read=read),
            skip_auto_headers=("Accept", "Accept-Encoding"),
            auto_decompress=False,  # the checksum is that of the body as it was sent
            cookie_jar=DummyCookieJar(),
        )

    async def renew(self) -> None:
        self._credentials = await asyncio.to_thread(self._renew)

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None


class _FencedConnector(TCPConnector):
    """Checks the fence when a connection is there: to open one, also through a proxy, can take long."""

    def __init__(self, fence: Callable[[], object], tls: ssl.SSLContext | None) -> None:
        super().__init__(limit=0, ssl=tls or True)  # the batch writer limits concurrent calls
        self._fence = fence

    async def connect(
        self,
        req: "ClientRequest",
        traces: "list[Trace]",
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> "Connection":
        connection = await super().connect(req, traces, timeout)
        try:
            self._fence()
        except BaseException:
            connection.close()
            raise
        return connection


async def _bounded_body(response: "ClientResponse") -> bytes:
    content = bytearray()
    try:
        while len(content) <= RESPONSE_BYTES and (piece := await response.content.readany()):
            content += piece
    finally:
        # Closes the connection unless all was read. Else it stays open for as long as something holds the error.
        response.release()
    if len(content) > RESPONSE_BYTES:
        raise NoResponseError(f"a response of more than {RESPONSE_BYTES:,} bytes, which DynamoDB does not send")
    return bytes(content)


def _no_response(error: Exception) -> NoResponseError:
    reason = getattr(error, "os_error", error)  # the error of the operating system, if it refused to connect
    return NoResponseError(f"{type(reason).__name__} {reason}".strip())
