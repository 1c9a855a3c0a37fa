"""What a look at a ledger of very many entries costs: time, CPU and peak memory of each way, in a process of its own.

    .venv/bin/python -m benchmarks.history --entries 1000000         # 31 days of files: 5 minutes

The entries come from a server on the loopback interface that makes them up as they are asked for, in pages of 1 MB
after 20 ms, as DynamoDB does. The emulator has no such table: a query there becomes slower with each item of the table.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import TextIOBase
from threading import Thread
from typing import Any, Final

from benchmarks.write_clients import block_credentials, client_settings
from blocks.domain.models import LedgerEntry, utc_text
from blocks.file_ledger import FileLedger
from blocks.file_ledger.table import entry_attributes, to_item
from deployments.commands.history.entries import SHOWN_FIELDS, print_entries, printed_as_json
from deployments.commands.history.page import history_page

DAYS: Final = 31
PAGE_BYTES: Final = 1_000_000
"""Of a page, before the projection. Source: "Query", Amazon DynamoDB API reference (1 MB)."""
PAGE_SECONDS: Final = 0.02


def page_of(entries: int, now: datetime, asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to a Query of the index by month, the latest entry first."""
    values, names = asked["ExpressionAttributeValues"], asked["ExpressionAttributeNames"]
    fields = [names[name] for name in asked.get("ProjectionExpression", "").split(", ") if name]
    item = to_item(entry_attributes(an_entry(now)))
    most = min(asked["Limit"], PAGE_BYTES // len(json.dumps(item)))
    items: list[dict[str, Any]] = []
    begin = int(asked["ExclusiveStartKey"]["file"]["S"]) + 1 if "ExclusiveStartKey" in asked else 0
    for number in range(begin, entries):
        moment = utc_text(now - timedelta(days=DAYS) * number / entries)
        if moment < values[":start"]["S"] or moment[:7] < values[":month"]["S"]:
            break
        if moment[:7] == values[":month"]["S"]:
            known = item | {name: {"S": moment} for name in ("claimed_at", "landed_at", "finished_at")}
            known |= {"key": {"S": f"incoming/gateway-{number % 97}/{number:07}.csv"}, "version": {"S": f"v{number}"}}
            items.append({name: known[name] for name in fields or known if name in known})
        if len(items) == most:
            return {"Items": items, "LastEvaluatedKey": {"file": {"S": str(number)}}}
    return {"Items": items}


def an_entry(now: datetime) -> LedgerEntry:
    return LedgerEntry(
        bucket="sensor-ingest-landing",
        key="incoming/x.csv",
        version="v",
        etag="d41d8cd98f00b204e9800998ecf8427e",
        status="archived",
        lines=1440,
        rows=1440,
        accepted=1440,
        archived_to="s3://sensor-ingest-landing/processed/gateway-17/0001234.csv",
        flow_run_id="0f8fad5b-d9cb-469f-a165-70867728950e",
        email_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
        epoch=1,
        claimed_at=now,
        landed_at=now,
        finished_at=now,
    )


class Table(BaseHTTPRequestHandler):
    """Answers Query, and BatchGetItem with no item: as if no email had been sent yet."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement of its headers

    def __init__(self, entries: int, now: datetime, *of_the_server: Any) -> None:  # noqa: ANN401
        self._entries, self._now = entries, now
        super().__init__(*of_the_server)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(PAGE_SECONDS)
        is_query = self.headers["X-Amz-Target"].endswith(".Query")
        answer = page_of(self._entries, self._now, asked) if is_query else {"Responses": {}, "UnprocessedKeys": {}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def json_printed(found: Iterable[LedgerEntry]) -> None:
    deque(printed_as_json(found), maxlen=0)


def page_made(found: Iterable[LedgerEntry]) -> None:
    history_page(found, datetime.now(UTC))


Way = tuple[Callable[[Iterable[LedgerEntry]], object], timedelta | None, int, bool]
WAYS: Final[dict[str, Way]] = {
    "history": (print_entries, None, 20, False),
    "history --since 24h": (print_entries, timedelta(hours=24), 1_000_000, False),
    "history --since 24h --json": (json_printed, timedelta(hours=24), 1_000_000, True),
    "history --html --since 7d": (page_made, timedelta(days=7), 1_000_000, False),
    "history --html": (page_made, None, 1_000_000, False),
}


class Sink(TextIOBase):
    """Takes what is printed, and keeps the moment of the first line."""

    first: float | None = None

    def write(self, text: str) -> int:
        self.first = self.first or time.monotonic()
        return len(text)


def look(way: str, endpoint: str) -> None:
    """Print the time until the first line and in all, the CPU, the memory before and at most, in seconds and MB."""
    credentials = block_credentials(client_settings(endpoint))
    ledger = FileLedger.model_validate({"table_name": "files", "credentials": credentials})
    ledger._client("dynamodb")  # noqa: SLF001 - made once, like the imports
    show, age, limit, whole = WAYS[way]
    before, begun, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), time.process_time()
    found = ledger.newest(limit, datetime.now(UTC) - age if age else None, () if whole else SHOWN_FIELDS)
    sink = Sink()
    with redirect_stdout(sink):
        show(ledger.with_emails(found) if whole else found)
    seconds, used = time.monotonic() - begun, time.process_time() - cpu
    first = sink.first and sink.first - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([first, seconds, used, before / 1024, peak / 1024]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--look", nargs=2, metavar=("WAY", "ENDPOINT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.look:
        look(*asked.look)
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Table, asked.entries, datetime.now(UTC)))
    Thread(target=server.serve_forever, daemon=True).start()
    print(f"{asked.entries:,} entries of {DAYS} days")
    print(f"{'':28}{'first line, s':>14}{'all, s':>8}{'CPU s':>8}{'MB before':>11}{'at most':>9}")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.history", "--look", way, f"http://127.0.0.1:{server.server_port}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        first, seconds, cpu, before, peak = json.loads(done.stdout)
        begun = "" if first is None else f"{first:.2f}"
        print(f"{way:28}{begun:>14}{seconds:8.1f}{cpu:8.1f}{before:11.0f}{peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
