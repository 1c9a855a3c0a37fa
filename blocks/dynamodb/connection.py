"""One kept-alive HTTP/1.1 connection to the endpoint of a boto3 client, through the proxy that the client would use."""

import asyncio
import base64
import re
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from typing import Final
from urllib.parse import SplitResult, unquote
from zlib import crc32

from botocore.exceptions import SSLError

from blocks.dynamodb.errors import NoResponseError

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CRC32: Final = re.compile(rb"\r\nx-amz-crc32: *(\d+)", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


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
        """The header that authenticates at the proxy; empty without a user name."""
        if not self.proxy or not self.proxy.username:
            return {}
        name_and_password = f"{unquote(self.proxy.username)}:{unquote(self.proxy.password or '')}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(name_and_password.encode()).decode()}"}


class Connection:
    """It connects at the first use, and again after a failure."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the response.

        Raises:
            NoResponseError: there was no complete response; DynamoDB may have executed the request.
            SSLError: the certificate of the server is not valid for the endpoint.
        """
        try:
            if self._streams is None:
                async with asyncio.timeout(self._endpoint.connect_timeout_seconds):
                    self._streams = await self._connected()
            async with asyncio.timeout(self._endpoint.response_timeout_seconds):
                return await self._exchange(request, *self._streams)
        except ssl.SSLCertVerificationError as error:
            raise SSLError(endpoint_url=self._endpoint.url.geturl(), error=error) from error
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError, IncompleteReadError an EOFError
            self.close()
            raise NoResponseError(f"{type(error).__name__} {error}".strip()) from error
        except asyncio.CancelledError:
            self.close()  # part of a response may still come
            raise

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes]:
        writer.write(request)  # in one piece: a head without its body costs a delayed TCP acknowledgement
        head = await reader.readuntil(b"\r\n\r\n")
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if not status:
            raise ValueError(f"not an HTTP response: {head[:40]!r}")
        body = await reader.readexactly(int(length[1])) if length else await _rest(head, reader)
        if (checksum := _CRC32.search(head)) and int(checksum[1]) != crc32(body):
            raise ValueError("the checksum of the response does not match")
        if not length or _CLOSES.search(head):
            self.close()
        return int(status[1]), body

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        endpoint = self._endpoint
        name = endpoint.host if endpoint.tls else None
        if endpoint.proxy and endpoint.tls:
            tunnel = await asyncio.to_thread(_tunnel, endpoint)
            return await asyncio.open_connection(sock=tunnel, ssl=endpoint.tls, server_hostname=name)
        if endpoint.proxy:
            return await asyncio.open_connection(endpoint.proxy.hostname, endpoint.proxy.port or 80)
        return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls, server_hostname=name)


async def _rest(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The body of a response without a length, which proxies may send."""
    if not _CHUNKED.search(head):
        return await reader.read()
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    return body


def _tunnel(endpoint: Endpoint) -> socket:
    """A socket through the proxy to DynamoDB."""
    proxy = endpoint.proxy
    connection = HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout=endpoint.connect_timeout_seconds)  # type: ignore[union-attr] # only called with one
    connection.set_tunnel(endpoint.host, endpoint.port, endpoint.proxy_headers)
    connection.connect()
    tunnel: socket = connection.sock
    tunnel.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    tunnel.settimeout(0)
    return tunnel
