"""The two transports of a request body: a fast one, and boto3."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError, HTTPClientError, SSLError

from blocks.dynamodb.connection import Connection, Endpoint
from blocks.dynamodb.errors import NoResponseError
from blocks.dynamodb.responses import Response
from blocks.dynamodb.signing import Credentials, Signer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Transport(Protocol):
    """Sends the bodies of BatchWriteItem calls to DynamoDB."""

    async def send(self, body: bytes) -> Response:
        """The response of DynamoDB.

        Raises:
            NoResponseError: there was none; DynamoDB may have executed the call.
        """

    async def renew(self) -> None:
        """Get new credentials, as the old ones have expired."""

    def close(self) -> None: ...


class FastTransport:
    """Kept-alive connections, and a signer for this one kind of request.

    The connection that was used last is used next, so there are never more of them than concurrent calls.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        signer: Signer,
        credentials: Callable[[], Credentials],
        renew: Callable[[], Callable[[], Credentials]],
    ) -> None:
        self._endpoint, self._signer, self._credentials, self._renew = endpoint, signer, credentials, renew
        self._target = None
        self._extra = b""
        if endpoint.proxy and not endpoint.tls:
            self._target = endpoint.url.geturl()
            self._extra = "".join(f"{name}: {value}\r\n" for name, value in endpoint.proxy_headers.items()).encode()
        self._idle: list[Connection] = []

    async def send(self, body: bytes) -> Response:
        connection = self._idle.pop() if self._idle else Connection(self._endpoint)
        try:
            head = self._signer.head(body, self._credentials(), self._target)
            if self._extra:
                head = head[:-2] + self._extra + b"\r\n"
            return Response.parse(*await connection.exchange(head + body))
        finally:
            self._idle.append(connection)

    async def renew(self) -> None:
        self._credentials = await asyncio.to_thread(self._renew)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


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

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
