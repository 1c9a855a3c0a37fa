"""The entry of the package: rows become request bodies, which a batch writer sends."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain
from typing import TYPE_CHECKING, Literal

from blocks.domain.text import OneLineLog
from blocks.dynamodb.attributes import key_names
from blocks.dynamodb.batch_writer import BatchWriter
from blocks.dynamodb.boto3_transport import Boto3Transport
from blocks.dynamodb.client_settings import UnsupportedClientError, credentials_of, endpoint_of, signer_of
from blocks.dynamodb.request_bodies import request_bodies_of
from blocks.dynamodb.transports import FastTransport, Transport

if TYPE_CHECKING:
    import pyarrow as pa
    from mypy_boto3_dynamodb import DynamoDBClient

Sender = Literal["fast", "boto3"]

_LOG = OneLineLog(logging.getLogger(__name__))


def write_batches(
    batches: "Iterable[pa.RecordBatch]",
    client: "DynamoDBClient",
    renewed_client: "Callable[[], DynamoDBClient]",
    *,
    table_name: str,
    sender: Sender,
    patience_seconds: float,
    connections: int,
    on_progress: Callable[[int], object],
    fence: Callable[[], object],
    on_unanswered: Callable[[], object],
    show_rows: bool = True,
) -> int:
    """The number of rows written, all acknowledged by DynamoDB; raises as `BatchWriter.run` and `fence` do.

    Args:
        batches: the rows, see `request_bodies_of`; they are read only as fast as the table accepts them.
        client: its endpoint and credentials are used.
        renewed_client: creates a client with new credentials; called when those of `client` have expired.
        table_name: the table to write to.
        sender: the transport.
        patience_seconds: time without an acknowledged item after which the load fails.
        connections: concurrent calls.
        on_progress: called with the number of rows acknowledged so far, in another thread with the same context.
        fence: see `Transport`.
        on_unanswered: see `Transport`.
        show_rows: whether the error about a row that DynamoDB refuses shows the row.
    """
    transport = transport_for(client, renewed_client, sender, fence=fence, on_unanswered=on_unanswered)
    rows = iter(batches)
    first = next(rows, None)
    key = key_names(first.schema) if first is not None else ()
    rows = chain([] if first is None else [first], rows)
    writer = BatchWriter(transport, table_name, patience_seconds, connections, on_progress, key, show_rows)
    return _apart_from_any_loop(lambda: writer.run(request_bodies_of(rows, table_name)))


def transport_for(
    client: "DynamoDBClient",
    renewed_client: "Callable[[], DynamoDBClient]",
    sender: Sender,
    *,
    fence: Callable[[], object] = lambda: None,
    on_unanswered: Callable[[], object] = lambda: None,
) -> Transport:
    """The transport asked for; boto3 if the fast one does not support the settings of the client."""
    if sender == "fast":
        try:
            endpoint = endpoint_of(client)
            signer = signer_of(client, endpoint)
            return FastTransport(
                endpoint,
                signer,
                credentials_of(client),
                lambda: credentials_of(renewed_client()),
                fence=fence,
                on_unanswered=on_unanswered,
            )
        except UnsupportedClientError as reason:
            _LOG.warning("Writing through boto3, which is slower, because of the settings of the client: %s", reason)
    return Boto3Transport(client, renewed_client, fence=fence, on_unanswered=on_unanswered)


def _apart_from_any_loop(run: Callable[[], int]) -> int:
    """The result of `run`, which needs a thread without an event loop; an async flow's thread has one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, run).result()
