"""What one look at the system saw, as plain data; what of it needs a person; and the JSON document."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from blocks.domain.models import LedgerEntry, utc_text
from blocks.domain.names import WORK_POOL
from flows.report.wording import count_text

DUE_TOO_LONG: Final = timedelta(minutes=10)
"""What is due is taken up within seconds, by the relay, or within ten minutes, by a sweep."""

UNANNOUNCED_TOO_LONG: Final = timedelta(minutes=5)
"""An event about a file arrives within seconds; a sweep waits for 15 minutes before it announces the file itself.

S3 dates a file by the beginning of its upload, if that has several parts. Source: Amazon S3 user guide, "Working with
object metadata".
"""


@dataclass(frozen=True)
class Unanswered:
    """A part that did not answer, or could not be asked."""

    reason: str


@dataclass(frozen=True)
class Count:
    """How many there are; with `more` there are others, which were not read."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"more than {self.number:,}" if self.more else f"{self.number:,}"


@dataclass(frozen=True)
class Queue:
    """The queue and its dead letters; SQS's own approximations."""

    waiting: int
    in_flight: int
    oldest_age_seconds: float | None
    """None if no message waits, or its age is not known."""
    dead_letters: int


@dataclass(frozen=True)
class IncomingFile:
    file: str
    landed_at: datetime


@dataclass(frozen=True)
class Incoming:
    """The files under the incoming prefix; with `more` the oldest is that of those that were read."""

    files: Count
    oldest: IncomingFile | None
    unannounced: IncomingFile | None = None
    """The latest that has been there for five minutes, and that the ledger neither expects nor has failed for good."""


@dataclass(frozen=True)
class Relay:
    """Whether a relay was heard, and by which sign."""

    alive: bool
    sign: str
    by_calls: bool = False
    """Whether it is judged by its calls of the queue, which it makes only while a run slot is free."""


@dataclass(frozen=True)
class Worker:
    name: str
    last_heartbeat_at: datetime


@dataclass(frozen=True)
class Workers:
    """The workers that are online, of all that ever connected; what is paused, if anything."""

    online: tuple[Worker, ...]
    known: int
    paused: tuple[str, ...] = ()
    """Options of `prefect`, such as `work-pool resume sensor-ingest`, that end a pause."""


@dataclass(frozen=True)
class Starts:
    """How runs start: `warm` is a fork of the warm process, `cold` an interpreter of their own."""

    kind: str
    why: str
    """Why they are cold; empty if they are warm."""
    forked: int = 0
    running: int = 0


@dataclass(frozen=True)
class Runs:
    """The runs of one flow by state; `limit` is the number of slots, None for no limit of its own."""

    flow: str
    running: int
    pending: int
    late: int
    limit: int | None


@dataclass(frozen=True)
class Held:
    """A file that a run holds, until then unless the run renews its lease."""

    file: str
    run: str
    until: datetime


@dataclass(frozen=True)
class Due:
    """A file or an email that is looked at again at that time."""

    at: datetime
    what: str
    """`file` or `email`."""
    about: str
    """The address of the file, or the names of the email's files."""
    why: str
    """Of a file `announced`, `retry`, `reload`, of an email `wait ends`, `try N`, of both `lease ended`."""


@dataclass(frozen=True)
class Ledger:
    """What the ledger says; times are those of its table's clock."""

    at: datetime
    held: tuple[Held, ...]
    held_more: bool
    """Whether a run may hold others, which were not read."""
    due_files: Count
    due_files_since: datetime | None
    later_files: Count
    """Files that are looked at later, those that a run holds included."""
    emails: Count
    """Emails that are not sent."""
    due_emails_since: datetime | None
    next: tuple[Due, ...]
    """The first that are looked at, those that a run holds left out."""
    newest: tuple[LedgerEntry, ...]


Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Status:
    """All parts; each is there, or says why not."""

    at: datetime
    stack: str
    queue: Queue | Unanswered
    incoming: Incoming | Unanswered
    relay: Relay | Unanswered
    workers: Workers | Unanswered
    starts: Starts | Unanswered
    runs: tuple[Runs, ...] | Unanswered
    ledger: Ledger | Unanswered

    def unanswered(self) -> dict[str, str]:
        """The reason of each part that did not answer, by its name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value.reason for name, value in values.items() if isinstance(value, Unanswered)}


@dataclass(frozen=True)
class Trouble:
    """Something that needs a person, and what to do about it."""

    problem: str
    remedy: str


def troubles(status: Status) -> list[Trouble]:
    """All that needs a person; none if the system goes on by itself."""
    return [
        *_unanswered(status),
        *_of_queue(status),
        *_of_workers(status),
        *_of_ledger(status),
        *_of_incoming(status),
    ]


def _unanswered(status: Status) -> Iterator[Trouble]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in status.unanswered().items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield Trouble(f"not known: {', '.join(names)}", reason)


def _of_queue(status: Status) -> Iterator[Trouble]:
    if isinstance(status.queue, Queue) and status.queue.dead_letters:
        yield Trouble(count_text(status.queue.dead_letters, "dead letter"), "see docs/how-to/dead-letters.md")
    if isinstance(status.relay, Relay) and not status.relay.alive and not (status.relay.by_calls and _no_slot(status)):
        yield Trouble(f"no relay was heard: {status.relay.sign}", "`sensor-ingest relay`, or start its service")


def _no_slot(status: Status) -> bool:
    """Whether all run slots for files are taken; then a relay waits, and asks the queue for nothing."""
    ingest = status.runs[0] if isinstance(status.runs, tuple) else None
    return bool(ingest and ingest.limit is not None and ingest.running + ingest.pending >= ingest.limit)


def _of_workers(status: Status) -> Iterator[Trouble]:
    if not isinstance(status.workers, Workers):
        return
    for command in status.workers.paused:
        yield Trouble("the work pool or a queue of it is paused", f"`prefect {command}`")
    if not status.workers.online:
        yield Trouble("no worker is online, so no run starts", f"`prefect worker start --pool {WORK_POOL}`")


def _of_ledger(status: Status) -> Iterator[Trouble]:
    if not isinstance(status.ledger, Ledger):
        return
    before = status.ledger.at - DUE_TOO_LONG
    minutes = DUE_TOO_LONG // timedelta(minutes=1)
    if status.ledger.due_files_since and status.ledger.due_files_since < before:
        yield Trouble(f"a file has been due for more than {minutes} minutes", "`sensor-ingest doctor` says why")
    if status.ledger.due_emails_since and status.ledger.due_emails_since < before:
        yield Trouble(f"an email has been due for more than {minutes} minutes", "`sensor-ingest doctor` says why")


def _of_incoming(status: Status) -> Iterator[Trouble]:
    found = status.incoming.unannounced if isinstance(status.incoming, Incoming) else None
    if found and _nothing_comes(status):
        minutes = UNANNOUNCED_TOO_LONG // timedelta(minutes=1)
        problem = f"{found.file} has been there for more than {minutes} minutes, and nothing has announced it"
        yield Trouble(problem, "`sensor-ingest doctor` says why; a sweep announces it after 15 minutes")


def _nothing_comes(status: Status) -> bool:
    """Whether a file can wait for no message and for no run that has not claimed it; False if one is not known."""
    queue, runs = status.queue, status.runs
    if isinstance(queue, Unanswered) or isinstance(runs, Unanswered):
        return False
    ingest = runs[0]
    return not any((queue.waiting, queue.in_flight, ingest.running, ingest.pending, ingest.late))


def as_document(status: Status) -> dict[str, Any]:
    """The JSON document: each part under its name, null where it did not answer."""
    return {
        "healthy": not troubles(status),
        "needs_a_person": _plain(troubles(status)),
        "unanswered": status.unanswered(),
        **_plain(status),
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - any part of the status
    """The value as JSON has it."""
    if isinstance(value, Unanswered):
        return None
    if isinstance(value, LedgerEntry):
        return value.model_dump(mode="json", exclude={"first_rejects", "summary"})
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return utc_text(value.astimezone(UTC)) if isinstance(value, datetime) else value
