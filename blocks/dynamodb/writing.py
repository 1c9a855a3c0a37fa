"""A load from end to end: frames into bodies, bodies onto a line."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Literal

from blocks.dynamodb.batch_writer import Delivery
from blocks.dynamodb.client_settings import UnusualClientError, keys_of, signer_of, way_of
from blocks.dynamodb.request_bodies import blocks_of_bodies
from blocks.dynamodb.transports import Boto3Line, FastLine, Line

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_dynamodb import DynamoDBClient

Sender = Literal["fast", "boto3"]

_LOG = logging.getLogger(__name__)


def write_frames(
    frames: "Iterable[pd.DataFrame]",
    client: "DynamoDBClient",
    renewed_client: "Callable[[], DynamoDBClient]",
    *,
    table_name: str,
    sender: Sender,
    patience_seconds: float,
    connections: int,
    on_progress: Callable[[int], object],
) -> int:
    """The number of rows written, each acknowledged by DynamoDB; errors are those of `Delivery.run`.

    Args:
        frames: what to write, see `blocks_of_bodies`; read as fast as the table takes it, and no faster.
        client: says how to reach DynamoDB.
        renewed_client: makes another one, with new credentials; called when those of the first have expired.
        table_name: the table to write to.
        sender: which line the bodies go out on.
        patience_seconds: how long nothing may be taken before the load is given up.
        connections: calls that may be under way at one time.
        on_progress: called with the number of rows taken so far, in another thread but the same context.
    """
    line = line_of(client, renewed_client, sender)
    delivery = Delivery(line, table_name, patience_seconds, connections, on_progress)
    return _apart_from_any_loop(lambda: delivery.run(blocks_of_bodies(frames, table_name)))


def line_of(client: "DynamoDBClient", renewed_client: "Callable[[], DynamoDBClient]", sender: Sender) -> Line:
    """The line asked for; boto3's where the client is set up in a way that the fast one does not know."""
    if sender == "fast":
        try:
            way = way_of(client)
            return FastLine(way, signer_of(client, way), keys_of(client), lambda: keys_of(renewed_client()))
        except UnusualClientError as reason:
            _LOG.warning("Writing through boto3, which is slower: the client is unusual, %s", reason)
    return Boto3Line(client, renewed_client)


def _apart_from_any_loop(run: Callable[[], int]) -> int:
    """The result of `run`, which needs a thread without an event loop; an async flow's thread has one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, run).result()
