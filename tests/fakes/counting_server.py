"""A server on the loopback interface that takes BatchWriteItem calls as DynamoDB does, and only counts.

    python -m tests.fakes.counting_server --delay-seconds 0.005 --items-per-second 5000 --unprocessed-share 0.2

prints its address, then serves until it is told to end. `GET /report` answers with the counts, `POST /behaviour` with a
JSON object of `Behaviour`'s fields starts anew with another one. `GET /files/NAME` answers with a file of the folder
that `--files` names, as S3 would for a bucket called files. Signatures are not checked: speed is what it is for.
"""

import argparse
import asyncio
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.fakes.certificate import make_certificate
from tests.fakes.counting_table import Behaviour, CountingTable, clock

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TAKEN = b'{"UnprocessedItems":{}}'
_TABLE = re.compile(rb'"RequestItems": ?\{"([^"]+)"')


def _description(key: Sequence[str]) -> bytes:
    """What DescribeTable says of a table with that key; text first, then a number, as readings have it."""
    attributes = [{"AttributeName": name, "AttributeType": kind} for name, kind in zip(key, ("S", "N"), strict=False)]
    roles = [{"AttributeName": name, "KeyType": role} for name, role in zip(key, ("HASH", "RANGE"), strict=False)]
    return json.dumps({"Table": {"AttributeDefinitions": attributes, "KeySchema": roles}}).encode()


class Counting(asyncio.Protocol):
    """One connection: requests are answered in the order they come."""

    def __init__(self, server: "CountingServer") -> None:
        self._server = server
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._server.table.connections += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(self._received) < end + 4 + length:
                if b"100-continue" in head:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self._received[end + 4 : end + 4 + length])
            del self._received[: end + 4 + length]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith((b"GET /report ", b"POST /behaviour ")):
            self._reply(200, self._server.control(head, body))
            return
        if head.startswith(b"GET /files/"):
            self._server.send_file(self._transport, head.split()[1].decode())
            return
        table = self._server.table
        table.requests += 1
        self._server.heads.append(head) if table.behaviour.keep else None
        step = table.script.popleft() if table.script else "ok"
        if b".DescribeTable" in head:
            self._reply(200, _description(table.behaviour.key))
            return
        if b".PutItem" in head:
            put = {"PutRequest": {"Item": json.loads(body)["Item"]}}
            body = json.dumps({"RequestItems": {"": [put]}}).encode()
        if step != "hang":
            self._follow(step, body)

    def _follow(self, step: str, body: bytes) -> None:
        """Answer as a step of the script says."""
        table = self._server.table
        if step == "reset":
            self._transport.abort()
        elif step == "damaged":
            damaged = b"HTTP/1.1 200 .\r\nContent-Length: 23\r\nx-amz-crc32: 1\r\n\r\n" + _TAKEN
            self._transport.write(damaged)
        elif step == "chunked":
            pieces = b"a\r\n" + _TAKEN[:10] + b"\r\nd\r\n" + _TAKEN[10:] + b"\r\n0\r\n\r\n"
            self._server.table.take(body, clock())
            self._transport.write(b"HTTP/1.1 200 .\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces)
        elif step.startswith(("raw ", "end ")):
            self._transport.write(step[4:].encode("latin-1"))
            self._transport.close() if step.startswith("end ") else None
        elif step == "trickle":
            self._transport.write(b"HTTP/1.1 200 .\r\nContent-Length: 1000000\r\n\r\n")
            self._trickle()
        else:
            status, answer = self._outcome(step, body)
            if delay := table.behaviour.delay_seconds:
                asyncio.get_running_loop().call_later(delay, self._reply, status, answer)
            else:
                self._reply(status, answer)

    def _trickle(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b" ")
            asyncio.get_running_loop().call_later(0.01, self._trickle)

    def _outcome(self, step: str, body: bytes) -> tuple[int, bytes]:
        if step != "ok":
            status, _, code = step.partition(" ")
            return int(status), _error(code or "InternalServerError")
        table = self._server.table
        if table.behaviour.refused_value and f'"N":"{table.behaviour.refused_value}"'.encode() in compact(body):
            return 400, _error("ValidationException")
        left = table.take(body, clock())
        if left is None:
            return 400, _error("ProvisionedThroughputExceededException")
        if not left:
            return 200, _TAKEN
        found = _TABLE.search(body)
        return 200, json.dumps({"UnprocessedItems": {found[1].decode() if found else "": left}}).encode()

    def _reply(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/x-amz-json-1.0\r\n"
        head += f"Content-Length: {len(body)}\r\nx-amz-crc32: {crc32(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


class CountingServer:
    """The server itself; `table` is what it has counted so far."""

    def __init__(self, behaviour: Behaviour | None = None, files: Path | None = None) -> None:
        self.table = CountingTable(behaviour or Behaviour())
        self._files, self._sending = files, set[asyncio.Task[None]]()
        self._cpu_before = 0.0
        self.heads: list[bytes] = []
        self.endpoint_url = ""

    def behave(self, **settings: Any) -> None:  # noqa: ANN401 - fields of Behaviour
        """Start anew with another behaviour."""
        self.heads = []
        self.table = CountingTable(Behaviour(**settings))
        self._cpu_before = time.process_time()

    def control(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"POST"):
            self.behave(**json.loads(body or b"{}"))
        # Asked before the report is made: checking all keys takes longer than taking them.
        more = {"cpu_seconds": time.process_time() - self._cpu_before, "behaviour": asdict(self.table.behaviour)}
        return json.dumps(self.table.report() | more).encode()

    def send_file(self, transport: asyncio.WriteTransport, path: str) -> None:
        """Response with the file of that name."""
        task = asyncio.get_running_loop().create_task(self._send_file(transport, Path(path).name))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_file(self, transport: asyncio.WriteTransport, name: str) -> None:
        if self._files is None:
            transport.abort()
            return
        with (self._files / name).open("rb") as file:
            size = (self._files / name).stat().st_size
            transport.write(f'HTTP/1.1 200 .\r\nETag: "1"\r\nContent-Length: {size}\r\n\r\n'.encode())
            await asyncio.get_running_loop().sendfile(transport, file)

    async def serve(
        self, port: int = 0, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> asyncio.Server:
        """Listen on the loopback interface, on any free port unless one is given."""
        server = await asyncio.get_running_loop().create_server(
            lambda: Counting(self), address, port, ssl=tls, backlog=1024
        )
        scheme, host = "https" if tls else "http", f"[{address}]" if ":" in address else address
        self.endpoint_url = f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}"
        return server


@contextmanager
def counting_server(tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[CountingServer]:
    """A server in a thread of this process, for tests."""
    server, ready, loop = CountingServer(), threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        listening = await server.serve(tls=tls, address=address)
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            listening.close()

    task = loop.create_task(serve())
    thread = threading.Thread(target=_run, args=(loop, task), name="counting-server")
    thread.start()
    try:
        ready.wait(10)
        yield server
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def _run(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    finally:
        loop.close()


def compact(body: bytes) -> bytes:
    """The JSON without the blanks that some clients put in."""
    return body.replace(b'": ', b'":')


def _error(code: str) -> bytes:
    kind = f"com.amazonaws.dynamodb.v20120810#{code}"
    return json.dumps({"__type": kind, "message": f"{code} as asked for"}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--files", type=Path, help="folder whose files are answered with")
    parser.add_argument("--certificate", type=Path, help="speak TLS, with a certificate that is made and stored here")
    for each in fields(Behaviour):
        if each.type in (float, float | None):
            parser.add_argument("--" + each.name.replace("_", "-"), type=float, default=each.default)
    parser.add_argument("--no-keep", dest="keep", action="store_false", help="count only, keep no bodies")
    asked = vars(parser.parse_args())
    port, certificate = asked.pop("port"), asked.pop("certificate")
    files = asked.pop("files")

    async def serve() -> None:
        server = CountingServer(Behaviour(**asked), files)
        listening = await server.serve(port, make_certificate(certificate) if certificate else None)
        print(server.endpoint_url, flush=True)  # noqa: T201 - what whoever started it waits for
        await listening.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
