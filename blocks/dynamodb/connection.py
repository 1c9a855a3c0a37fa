"""One kept-alive HTTP/1.1 connection to where a boto3 client would send, on the way it would take."""

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

from blocks.dynamodb.errors import NoAnswerError

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CRC32: Final = re.compile(rb"\r\nx-amz-crc32: *(\d+)", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True)
class Way:
    """Where DynamoDB is, and how to get there."""

    url: SplitResult
    tls: ssl.SSLContext | None
    proxy: SplitResult | None
    connect_seconds: float
    answer_seconds: float

    @property
    def host(self) -> str:
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.tls else 80)

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What proves to the proxy who asks."""
        if not self.proxy or not self.proxy.username:
            return {}
        name_and_password = f"{unquote(self.proxy.username)}:{unquote(self.proxy.password or '')}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(name_and_password.encode()).decode()}"}


class Connection:
    """Connects when it is first used, and again after anything has gone wrong."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            NoAnswerError: there was none, or not all of it; whether DynamoDB has had the request is not known.
            SSLError: whoever answers is not who was asked for.
        """
        try:
            if self._streams is None:
                async with asyncio.timeout(self._way.connect_seconds):
                    self._streams = await self._connected()
            async with asyncio.timeout(self._way.answer_seconds):
                return await self._exchange(request, *self._streams)
        except ssl.SSLCertVerificationError as error:
            raise SSLError(endpoint_url=self._way.url.geturl(), error=error) from error
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError, IncompleteReadError an EOFError
            self.close()
            raise NoAnswerError(f"{type(error).__name__} {error}".strip()) from error
        except asyncio.CancelledError:
            self.close()  # half an answer may be left in it
            raise

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes]:
        writer.write(request)  # in one piece: a head that waits for its body costs a delayed acknowledgement
        head = await reader.readuntil(b"\r\n\r\n")
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if not status:
            raise ValueError(f"no HTTP answer: {head[:40]!r}")
        body = await reader.readexactly(int(length[1])) if length else await _rest(head, reader)
        if (checksum := _CRC32.search(head)) and int(checksum[1]) != crc32(body):
            raise ValueError("the answer was damaged on the way")
        if not length or _CLOSES.search(head):
            self.close()
        return int(status[1]), body

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        way = self._way
        name = way.host if way.tls else None
        if way.proxy and way.tls:
            tunnel = await asyncio.to_thread(_tunnel, way)
            return await asyncio.open_connection(sock=tunnel, ssl=way.tls, server_hostname=name)
        if way.proxy:
            return await asyncio.open_connection(way.proxy.hostname, way.proxy.port or 80)
        return await asyncio.open_connection(way.host, way.port, ssl=way.tls, server_hostname=name)


async def _rest(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """A body of unknown length, as a proxy may send it."""
    if not _CHUNKED.search(head):
        return await reader.read()
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    return body


def _tunnel(way: Way) -> socket:
    """A socket that a proxy has connected to DynamoDB."""
    proxy = way.proxy
    connection = HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout=way.connect_seconds)  # type: ignore[union-attr] # only called with one
    connection.set_tunnel(way.host, way.port, way.proxy_headers)
    connection.connect()
    tunnel: socket = connection.sock
    tunnel.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    tunnel.settimeout(0)
    return tunnel
