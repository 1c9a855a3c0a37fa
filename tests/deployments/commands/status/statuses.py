"""A status as plain data, for the tests of what is made of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from blocks.domain.models import LedgerEntry
from deployments.commands.status.seen import (
    Count,
    Due,
    Held,
    Incoming,
    IncomingFile,
    Ledger,
    Queue,
    Relay,
    Runs,
    Starts,
    Status,
    Worker,
    Workers,
)

NOW = datetime(2026, 11, 22, 20, 25, tzinfo=UTC)
RUN = "0197a3c2-5d1e-7c44-9b1f-2f6a8e0c7d31"


def uri(name: str) -> str:
    return f"s3://landing/incoming/{name}"


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def entry(name: str, **known: Any) -> LedgerEntry:  # noqa: ANN401 - fields
    about = {"bucket": "landing", "key": f"incoming/{name}", "version": "v1", "status": "archived", "claimed_at": NOW}
    return LedgerEntry.model_validate({**about, **known})


def loaded(name: str, rows: int, rejected: int, seconds: int, at: datetime) -> LedgerEntry:
    counts = {"lines": rows, "rows": rows, "accepted": rows - rejected, "rejected": rejected}
    times = {
        "landed_at": at - timedelta(seconds=1),
        "claimed_at": at,
        "finished_at": at + timedelta(seconds=seconds - 1),
    }
    return entry(name, **counts, **times)


IDLE = Status(
    at=NOW,
    stack="sensor-ingest",
    queue=Queue(0, 0, None, 0),
    incoming=Incoming(Count(0), None),
    relay=Relay(alive=True, sign="process 4711 of the embedded stack"),
    workers=Workers((Worker("embedded", ago(seconds=9)),), 1),
    starts=Starts("warm", "", 214, 0),
    runs=(
        Runs("ingest-sensor-files", 0, 0, 0, 2),
        Runs("notify", 0, 0, 0, 2),
        Runs("sweep", 0, 0, 0, None),
    ),
    ledger=Ledger(
        at=NOW,
        held=(),
        held_more=False,
        due_files=Count(0),
        due_files_since=None,
        later_files=Count(0),
        emails=Count(0),
        due_emails_since=None,
        next=(),
        newest=(),
    ),
)

LEDGER = Ledger(
    at=NOW,
    held=tuple(Held(uri(f"plant-7/{n:02}.csv"), RUN, NOW + timedelta(seconds=48)) for n in range(12)),
    held_more=False,
    due_files=Count(1),
    due_files_since=ago(seconds=2),
    later_files=Count(13),
    emails=Count(2),
    due_emails_since=None,
    next=(
        Due(ago(seconds=2), "file", uri("plant-2/late.csv"), "announced"),
        Due(NOW + timedelta(seconds=40), "file", uri("plant-3/throttled.csv"), "retry"),
        Due(NOW + timedelta(minutes=7), "email", "00.csv and 11 more", "wait ends"),
    ),
    newest=(
        entry("plant-7/00.csv", status="loading", claimed_at=ago(seconds=12), landed_at=ago(seconds=14)),
        loaded("plant-1/sensors-2026-11-22.csv", 1_000_000, 12, 41, ago(minutes=3)),
        entry(
            "plant-9/broken.csv",
            status="refused",
            claimed_at=ago(hours=2),
            landed_at=ago(hours=2),
            lines=1,
            rows=1,
            rejected=1,
            finished_at=ago(hours=2),
        ),
    ),
)

BUSY = replace(
    IDLE,
    queue=Queue(3, 4, 12.0, 2),
    incoming=Incoming(Count(17), IncomingFile(uri("plant-2/late.csv"), ago(minutes=2))),
    starts=Starts("warm", "", 214, 1),
    runs=(
        Runs("ingest-sensor-files", 1, 1, 0, 2),
        Runs("notify", 0, 0, 0, 2),
        Runs("sweep", 0, 0, 0, None),
    ),
    ledger=LEDGER,
)
