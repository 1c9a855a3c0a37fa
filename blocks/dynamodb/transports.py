"""The two transports of a request body: a fast one, and boto3."""

import asyncio
import json
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote
from zlib import crc32

from aiohttp import (
    ClientConnectorCertificateError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    encode_basic_auth,
)
from aiohttp import ClientError as AiohttpError
from botocore.exceptions import ClientError, HTTPClientError, SSLError
from yarl import URL

from blocks.dynamodb.errors import NoResponseError
from blocks.dynamodb.responses import Response
from blocks.dynamodb.signing import Credentials, Signer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


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
        return self.url.hostname or ""

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
    """Sends the bodies of BatchWriteItem calls to DynamoDB."""

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
    ) -> None:
        self._endpoint, self._signer, self._credentials, self._renew = endpoint, signer, credentials, renew
        self._url = URL(endpoint.url.geturl(), encoded=True)  # the path is sent as it was signed
        self._session: ClientSession | None = None

    async def send(self, body: bytes) -> Response:
        """The response of DynamoDB.

        Raises:
            NoResponseError: there was no complete response; DynamoDB may have executed the call.
            SSLError: the certificate of the server is not valid for the endpoint.
        """
        if self._session is None:
            self._session = self._open_session()
        headers = self._signer.headers(body, self._credentials())
        proxy_headers = self._endpoint.proxy_headers
        if not self._endpoint.tls:
            headers |= proxy_headers  # without TLS the proxy reads the request; with TLS, a CONNECT request before it
        try:
            response = await self._session.post(
                self._url, data=body, headers=headers, proxy_headers=proxy_headers, allow_redirects=False
            )
            content = await response.read()
        except ClientConnectorCertificateError as error:
            raise SSLError(endpoint_url=str(self._url), error=error.certificate_error) from error
        except (AiohttpError, OSError) as error:  # TimeoutError is an OSError
            reason = getattr(error, "os_error", error)  # the error of the operating system, if it refused to connect
            raise NoResponseError(f"{type(reason).__name__} {reason}".strip()) from error
        if response.headers.get("x-amz-crc32", checksum := str(crc32(content))) != checksum:
            raise NoResponseError("the checksum of the response does not match")
        return Response.parse(response.status, content)

    def _open_session(self) -> ClientSession:
        endpoint, proxy = self._endpoint, self._endpoint.proxy
        connect, read = endpoint.connect_timeout_seconds, endpoint.response_timeout_seconds
        return ClientSession(
            connector=TCPConnector(limit=0, ssl=endpoint.tls or True),  # the batch writer limits concurrent calls
            proxy=URL.build(scheme="http", host=proxy.hostname or "", port=proxy.port) if proxy else None,
            timeout=ClientTimeout(connect=connect, sock_read=read),
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


class Boto3Transport:
    """The boto3 client in threads, with its retries: slower, but it works in every network that boto3 works in."""

    def __init__(self, client: "DynamoDBClient", renew: "Callable[[], DynamoDBClient]") -> None:
        self._client, self._renew = client, renew
        config: Any = client.meta.config
        self._threads = ThreadPoolExecutor(config.max_pool_connections, thread_name_prefix="batch-write-item")

    async def send(self, body: bytes) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, json.loads(body))

    def _send(self, call: dict[str, Any]) -> Response:
        try:
            response = self._client.batch_write_item(**call)
        except ClientError as error:
            details = error.response["Error"]
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            return Response(status, code=details.get("Code", ""), message=details.get("Message", ""))
        except SSLError:
            raise
        except HTTPClientError as error:
            raise NoResponseError(str(error)) from error
        tables: Any = response.get("UnprocessedItems", {})
        return Response(200, [put for puts in tables.values() for put in puts])

    async def renew(self) -> None:
        self._client = await asyncio.to_thread(self._renew)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
