"""The two lines that a body can go out on: the fast one, and boto3's own."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError, HTTPClientError, SSLError

from blocks.dynamodb.connection import Connection, Way
from blocks.dynamodb.errors import NoAnswerError
from blocks.dynamodb.responses import Answer
from blocks.dynamodb.signing import Keys, Signer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Line(Protocol):
    """Takes the body of a BatchWriteItem call to DynamoDB."""

    async def send(self, body: bytes) -> Answer:
        """What DynamoDB says.

        Raises:
            NoAnswerError: nothing; whether it has had the call is not known.
        """

    async def renew(self) -> None:
        """Get new credentials: the old ones have expired."""

    def close(self) -> None: ...


class FastLine:
    """Kept-alive connections and a signature made for the purpose.

    The connection used last is used first, so there are never more of them than are needed at one time.
    """

    def __init__(
        self, way: Way, signer: Signer, keys: Callable[[], Keys], renew: Callable[[], Callable[[], Keys]]
    ) -> None:
        self._way, self._signer, self._keys, self._renew = way, signer, keys, renew
        self._target = None
        self._extra = b""
        if way.proxy and not way.tls:
            self._target = way.url.geturl()
            self._extra = "".join(f"{name}: {value}\r\n" for name, value in way.proxy_headers.items()).encode()
        self._idle: list[Connection] = []

    async def send(self, body: bytes) -> Answer:
        connection = self._idle.pop() if self._idle else Connection(self._way)
        try:
            head = self._signer.head(body, self._keys(), self._target)
            if self._extra:
                head = head[:-2] + self._extra + b"\r\n"
            status, answer = await connection.exchange(head + body)
            return Answer.parse(status, answer)
        finally:
            self._idle.append(connection)

    async def renew(self) -> None:
        self._keys = await asyncio.to_thread(self._renew)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


class Boto3Line:
    """boto3's client as it is, in threads, with its retries: slower, and at home in every network that boto3 is."""

    def __init__(self, client: "DynamoDBClient", renew: "Callable[[], DynamoDBClient]") -> None:
        self._client, self._renew = client, renew
        config: Any = client.meta.config
        self._threads = ThreadPoolExecutor(config.max_pool_connections, thread_name_prefix="batch-write-item")

    async def send(self, body: bytes) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, json.loads(body))

    def _send(self, call: dict[str, Any]) -> Answer:
        try:
            answer = self._client.batch_write_item(**call)
        except ClientError as error:
            said = error.response["Error"]
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            return Answer(status, code=said.get("Code", ""), message=said.get("Message", ""))
        except SSLError:
            raise
        except HTTPClientError as error:
            raise NoAnswerError(str(error)) from error
        tables: Any = answer.get("UnprocessedItems", {})
        return Answer(200, [put for puts in tables.values() for put in puts])

    async def renew(self) -> None:
        self._client = await asyncio.to_thread(self._renew)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
