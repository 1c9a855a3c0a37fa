"""What needs a person, and the JSON document."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deployments.commands.status.seen import (
    DUE_TOO_LONG,
    Count,
    Incoming,
    IncomingFile,
    Queue,
    Relay,
    Runs,
    Status,
    Unanswered,
    Worker,
    Workers,
    as_document,
    troubles,
)
from tests.deployments.commands.status.statuses import BUSY, IDLE, LEDGER, NOW, uri
from tests.support.pages import names, page, rows

SILENT = Relay(alive=False, sign="no calls", by_calls=True)
TOO_LONG_AGO = NOW - DUE_TOO_LONG - timedelta(seconds=1)
ACTIVE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
OLD = IncomingFile(uri("a.csv"), NOW - timedelta(days=1))
UNANNOUNCED = Incoming(Count(1), OLD, OLD)


@pytest.mark.parametrize(
    ("changed", "problem", "remedy"),
    [
        ({"queue": Queue(0, 0, None, 1)}, "1 dead letter", "docs/how-to/dead-letters.md"),
        ({"relay": Relay(alive=False, sign="it is off")}, "no relay was heard: it is off", "sensor-ingest relay"),
        ({"relay": SILENT}, "no relay was heard: no calls", "sensor-ingest relay"),
        ({"workers": Workers((), 0)}, "no worker is online", "prefect worker start --pool sensor-ingest"),
        (
            {"workers": Workers((Worker("w", NOW),), 1, ("work-pool resume sensor-ingest",))},
            "paused",
            "prefect work-pool resume sensor-ingest",
        ),
        ({"ledger": replace(LEDGER, due_files_since=TOO_LONG_AGO)}, "a file has been due", "sensor-ingest doctor"),
        ({"ledger": replace(LEDGER, due_emails_since=TOO_LONG_AGO)}, "an email has been due", "sensor-ingest doctor"),
        ({"incoming": UNANNOUNCED}, "nothing has announced it", "sensor-ingest doctor"),
        ({"runs": Unanswered("the server is away")}, "not known: runs", "the server is away"),
    ],
    ids=["dead letter", "relay", "relay by its calls", "worker", "paused", "file", "email", "incoming", "unanswered"],
)
def test_what_needs_a_person_is_named_with_its_remedy(changed: Any, problem: str, remedy: str) -> None:  # noqa: ANN401
    [found] = troubles(replace(IDLE, **changed))
    assert (True, True) == (problem in found.problem, remedy in found.remedy), found


@pytest.mark.parametrize(
    "status",
    [
        IDLE,
        replace(BUSY, queue=Queue(5000, 10, 600.0, 0)),
        replace(IDLE, relay=SILENT, runs=(Runs("ingest-sensor-files", 1, 1, 0, 2),)),
        replace(IDLE, ledger=replace(LEDGER, due_files_since=NOW - DUE_TOO_LONG, due_emails_since=NOW)),
        replace(IDLE, incoming=Incoming(Count(1), OLD)),
        replace(IDLE, incoming=UNANNOUNCED, queue=Queue(1, 0, None, 0)),
        replace(IDLE, incoming=UNANNOUNCED, queue=Queue(0, 1, None, 0)),
        *(replace(IDLE, incoming=UNANNOUNCED, runs=(Runs("ingest-sensor-files", *each, 2),)) for each in ACTIVE),
    ],
    ids=[
        *("idle", "busy", "no slot is free", "due for a moment", "known to the ledger", "waiting", "in flight"),
        *("running", "pending", "late"),
    ],
)
def test_what_goes_on_by_itself_needs_no_person(status: Status) -> None:
    assert [] == troubles(status)


def test_the_document_is_json_with_the_names_on_the_page() -> None:
    document = json.loads(json.dumps(as_document(replace(BUSY, relay=Unanswered("no")))))
    listed = rows(page("docs/reference/commands.md").section("What status prints"), "part")
    assert sorted(document) == sorted(names([row[0] for row in listed]))
    described = {row[0].strip("`"): row[1] for row in listed}
    for part in ("queue", "incoming", "ledger", "workers", "starts"):
        assert [] == [name for name in document[part] if f"`{name}`" not in described[part]], part
    assert [] == [name for name in document["runs"][0] if f"`{name}`" not in described["runs"]]
    assert (False, None, {"relay": "no"}) == (document["healthy"], document["relay"], document["unanswered"])
    assert "2026-11-22T20:24:58.000+00:00" == document["ledger"]["due_files_since"]
    assert "incoming/plant-7/00.csv" == document["ledger"]["newest"][0]["key"]


def test_a_healthy_system_says_so() -> None:
    assert (True, [], {}) == tuple(as_document(IDLE)[name] for name in ("healthy", "needs_a_person", "unanswered"))
