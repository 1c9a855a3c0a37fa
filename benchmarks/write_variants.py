"""Four ways to send ready bodies to a server that only counts: what `docs/decisions/0020-*.md` chose between.

    .venv/bin/python -m benchmarks.write_variants

A: botocore's client, the body handed over in its `before-call` event; B: botocore's signer and HTTP session; C: a
signature of our own and `http.client`, each with 16 threads; D: that signature and one event loop, which is ours.
"""

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import chain
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import URLLib3Session

from benchmarks.write import ask, server
from blocks.dynamodb.attributes import attribute
from blocks.dynamodb.batch_writer import BatchWriter
from blocks.dynamodb.request_bodies import request_bodies_of
from blocks.dynamodb.signing import CONTENT_TYPE, TARGET
from blocks.dynamodb.writing import transport_for

TABLE, THREADS, ITEMS, ROUNDS = "readings", 16, 200_000, 3
KEYS = ReadOnlyCredentials("AKIDEXAMPLE", "made-up-secret", None)


def client(endpoint: str) -> Any:  # noqa: ANN401 - boto3's
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        config=Config(max_pool_connections=THREADS),
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
    )


def in_threads(bodies: Iterable[bytes], send: Callable[[bytes], object]) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(send, bodies):
            pass


def a_botocore_client(endpoint: str, blocks: list[list[bytes]]) -> None:
    dynamodb, hand = client(endpoint), threading.local()

    def hand_over(params: dict[str, Any], **_: object) -> None:
        params["body"] = hand.body

    def send(body: bytes) -> None:
        hand.body = body
        dynamodb.batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": {}}}]})

    dynamodb.meta.events.register("before-call.dynamodb.BatchWriteItem", hand_over)
    in_threads(chain.from_iterable(blocks), send)


def b_botocore_signer(endpoint: str, blocks: list[list[bytes]]) -> None:
    no_delay: list[Any] = [(IPPROTO_TCP, TCP_NODELAY, 1)]
    session = URLLib3Session(max_pool_connections=THREADS, socket_options=no_delay)
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET}

    def send(body: bytes) -> None:
        request = AWSRequest("POST", endpoint + "/", dict(headers), body)
        SigV4Auth(KEYS, "dynamodb", "eu-central-1").add_auth(request)
        assert session.send(request.prepare()).status_code == 200

    in_threads(chain.from_iterable(blocks), send)


def c_own_signature_in_threads(endpoint: str, blocks: list[list[bytes]]) -> None:
    kept, url = threading.local(), urlsplit(endpoint)
    line: Any = transport_for(client(endpoint), lambda: client(endpoint), "fast")

    def send(body: bytes) -> None:
        if not hasattr(kept, "connection"):
            kept.connection = HTTPConnection(url.hostname or "", url.port)
            kept.connection.connect()
            kept.connection.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        kept.connection.request("POST", "/", body, line._signer.headers(body, KEYS))  # noqa: SLF001
        with kept.connection.getresponse() as answer:
            assert answer.read() == b'{"UnprocessedItems":{}}'

    in_threads(chain.from_iterable(blocks), send)


def d_own_signature_in_one_loop(endpoint: str, blocks: list[list[bytes]]) -> None:
    line = transport_for(client(endpoint), lambda: client(endpoint), "fast")
    BatchWriter(line, TABLE, patience_seconds=10, connections=128).run(iter(blocks))


def batches() -> Iterator[pa.RecordBatch]:
    schema = pa.schema([("sensor_id", pa.string()), ("timestamp", pa.int64()), attribute("value", "N")])
    numbers = range(ITEMS)
    columns = [[f"0000-{number % 250:04d}" for number in numbers], numbers, [str(number / 100) for number in numbers]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def main() -> None:
    ways = [a_botocore_client, b_botocore_signer, c_own_signature_in_threads, d_own_signature_in_one_loop]
    blocks = list(request_bodies_of(batches(), TABLE))
    figures: dict[str, list[tuple[float, float]]] = {way.__name__: [] for way in ways}
    with server([]) as endpoint:
        for _ in range(ROUNDS):
            for way in ways:
                ask(endpoint, "/behaviour", {"delay_seconds": 0.005, "keep": False}, "")
                started, cpu = time.perf_counter(), time.process_time()
                way(endpoint, blocks)
                seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
                figures[way.__name__].append((ITEMS / seconds, 1e6 * cpu_seconds / ITEMS))
    print(
        f"{ITEMS:,} items in ready bodies, 5 ms, one process, median of {ROUNDS} rounds, load {os.getloadavg()[0]:.1f}"
    )
    for name, rounds in figures.items():
        speed, cpu_us = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:32}{speed:>10,.0f} items/s{cpu_us:>8.1f} us CPU/item")


if __name__ == "__main__":
    main()
