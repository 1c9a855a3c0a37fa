"""The transport over boto3."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError, HTTPClientError, SSLError
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from blocks.dynamodb.errors import NoResponseError
from blocks.dynamodb.responses import Response
from blocks.dynamodb.transports import SERVER_ERROR

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_TRANSPORT_OF_THREAD: Final = ContextVar["Boto3Transport"]("transport of this thread")
"""Loads of one process share the client, so its events do not say whose request it is."""


class Boto3Transport:
    """The boto3 client in threads, with its retries: slower, but it works in every network that boto3 works in."""

    def __init__(
        self,
        client: "DynamoDBClient",
        renew: "Callable[[], DynamoDBClient]",
        *,
        fence: Callable[[], object],
        on_unanswered: Callable[[], object],
    ) -> None:
        self._client, self._renew = _with_events(client), renew
        self._fence, self._on_unanswered = fence, on_unanswered
        self._closed = False
        config: Any = client.meta.config
        self._threads = ThreadPoolExecutor(
            config.max_pool_connections, "batch-write-item", _TRANSPORT_OF_THREAD.set, (self,)
        )

    async def send(self, body: bytes) -> Response:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, json.loads(body))
        except asyncio.CancelledError:  # the thread goes on
            self._on_unanswered()
            raise

    def before_request(self) -> None:
        """Check the fence: called by botocore directly before each request, its own retries among them.

        Raises:
            NoResponseError: the load has ended, so nothing waits for this retry.
        """
        if self._closed:
            raise NoResponseError("the load has ended")
        self._fence()

    def after_request(self, status: int | None, error: Exception | None) -> None:
        """Called by botocore with the outcome of each request, also if it tries again."""
        if isinstance(error, HTTPClientError) or (status is not None and status >= SERVER_ERROR):
            self._on_unanswered()

    def _send(self, call: dict[str, Any]) -> Response:
        try:
            response = self._client.batch_write_item(**call)
        except ClientError as error:
            details = error.response["Error"]
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            return Response(status, code=details.get("Code", ""), message=details.get("Message", ""))
        except SSLError:
            raise
        except NoConnectionError as error:
            raise NoResponseError(str(error)) from error
        except HTTPClientError as error:
            self._on_unanswered()  # botocore reports no request whose answer broke off
            raise NoResponseError(str(error)) from error
        except (ResponseParserError, UnicodeDecodeError, AttributeError, TypeError, RecursionError) as error:
            # botocore raises the others for bytes that are no text, and for JSON that is no object or is nested deeply.
            self._on_unanswered()
            raise NoResponseError(f"a response that is none of DynamoDB's: {error}") from error
        if "UnprocessedItems" not in response:
            self._on_unanswered()
            raise NoResponseError("a response with status 200 that does not say what was written")
        return Response(200, [put for puts in response["UnprocessedItems"].values() for put in puts])

    async def renew(self) -> None:
        self._client = _with_events(await asyncio.to_thread(self._renew))

    async def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)


def _with_events(client: "DynamoDBClient") -> "DynamoDBClient":
    """The client, which from now on reports each BatchWriteItem request to the transport of its thread."""
    # With an id, a handler that is already there is not added again.
    events = client.meta.events
    events.register("before-send.dynamodb.BatchWriteItem", _before_request, unique_id="sensor-ingest-fence")
    events.register("response-received.dynamodb.BatchWriteItem", _after_request, unique_id="sensor-ingest-unanswered")
    return client


def _before_request(**_: object) -> None:
    if transport := _TRANSPORT_OF_THREAD.get(None):
        transport.before_request()


def _after_request(
    response_dict: dict[str, Any] | None = None, exception: Exception | None = None, **_: object
) -> None:
    if transport := _TRANSPORT_OF_THREAD.get(None):
        transport.after_request(response_dict["status_code"] if response_dict else None, exception)
