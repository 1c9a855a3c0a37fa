"""The product in a simulation: its real code of claim, load, archive, sweep, outbox and relay on the fakes.

Replaced are the reading of CSV and the writer of rows, whose tests are elsewhere, the rendering of emails, and Prefect.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, BinaryIO
from unittest.mock import patch

import blocks.aws_block
import blocks.saved_blocks
import flows.loading.tasks
import flows.notification.backlog
import flows.notification.overdue
import flows.notification.wait
import flows.notify
import flows.sweep
from blocks.domain.errors import LeaseLostError
from blocks.domain.feed.descriptor import SENSOR_READINGS
from blocks.domain.feed.selection import Feeds
from blocks.domain.models import FileReport, RowCounts
from blocks.file_ledger import FileLedger
from blocks.file_ledger.outbox import ClaimedEmail
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.runtime import installed, runtime
from blocks.saved_blocks import SavedBlocks
from deployments.relay.relay import Relay
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.timings import Timings
from deployments.relay.upkeep import Upkeep
from flows.loading.ingest_file import ingest_or_report
from flows.loading.large_files import LargeFiles
from flows.loading.lease import Lease
from flows.loading.step_runs import within_task_run
from flows.notification.collecting import email_collected
from flows.notification.overdue import take_up_overdue_emails
from flows.rows import ValidationSettings
from tests.simulation.aws.events import LATEST_SECONDS
from tests.simulation.aws.events import announce as announce_objects
from tests.simulation.invariants import Invariants
from tests.simulation.prefect_server import (
    Chances,
    PrefectServer,
    Run,
    SimulatedClient,
    SimulatedSlots,
    announcement,
    notification,
)
from tests.simulation.processes import Flag, Process
from tests.simulation.runtime import mapped, running_process
from tests.simulation.world import World

BUCKET = "landing"
_LANDING_ZONE = LandingZone(bucket=BUCKET)
_READINGS_TABLE = ReadingsTable(table_name="readings")
_MAILER = Mailer(sender="sensors@example.com", recipients=[f"{number}@example.com" for number in range(51)])
"""More recipients than one message takes: each email is two messages."""

WAIT_SECONDS = 60.0
TIMINGS = Timings(due_look_seconds=25, upkeep_seconds=45, batch_quiet_seconds=2, slot_poll_seconds=5)
"""Slower than in production: the looks would be most of the calls of a simulation."""

ATTEMPTS = 50
"""So many loads of one version are never killed: a story ends with its rows in the table, not with a failed file."""

FILES_AT_ONCE = 8
INDEXES = {"by-due-time": ("waits_for", "next_try_at", ()), "by-month": ("month", "claimed_at", None)}


@dataclass
class Product:
    """One installation: bucket, queue, tables, relays, workers and scheduled sweeps."""

    world: World
    chances: Chances
    uploads: dict[str, list[str]] = field(default_factory=dict)
    """The contents dropped under each key, in their order."""
    announced_by_sweep: list[str] = field(default_factory=list)
    quiet_asked_at: int = -1
    last_drop_at: float = 0.0

    patience_seconds: float = 200.0
    """How long the writer of rows tries without success; with less, more loads fail."""

    def __post_init__(self) -> None:
        world = self.world
        world.dynamodb.create_table("files", "file", "version", INDEXES)
        self.bucket = world.s3.create_bucket(BUCKET)
        self.queue = world.sqs.create_queue("arrivals", visibility_timeout=60, most_receives=5)
        announce_objects(self.bucket, self.queue, world.sqs)
        self.server = PrefectServer(world.network, self.chances, self._start_run)
        self.slots = SimulatedSlots(self.server)
        self.invariants = Invariants(world, self.bucket, self._is_announced)
        self._numbers = iter(range(1, 1_000_000))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While the block lasts, the product's code runs in this simulation."""
        server, in_process = self.server, _InProcess
        send_later = partial(_send_later, server)
        with ExitStack() as stack:
            stack.enter_context(installed(self.world.runtime))  # type: ignore[arg-type] # it has all that Runtime has
            for module, name, value in (
                (blocks.aws_block, "client_of", lambda _, service: self.world.client(service)),
                (blocks.saved_blocks, "_blocks_of", lambda _: _blocks()),
                (blocks.saved_blocks, "load_feeds", lambda: Feeds([SENSOR_READINGS])),
                (flows.loading.tasks, "validate_file", _validated),
                (flows.loading.ingest_file, "TemporaryDirectory", lambda **_: nullcontext("")),
                (ReadingsTable, "write", self._write),
                (Lease, "end_failed", self._watched(Lease.end_failed)),
                (Mailer, "send", _sent),
                (flows.notify, "compose_email", _composed),
                (flows.notify, "_pages", lambda _: []),
                (flows.notify, "send_email", self._watched_email(flows.notify.send_email)),
                (flows.notify, "claim_email", in_process(flows.notify.claim_email)),
                (flows.notify, "send_message", in_process(flows.notify.send_message)),
                (flows.notify, "record_message", in_process(flows.notify.record_message)),
                (flows.notify, "_is_of_a_deployment", lambda: True),
                (flows.notification.backlog, "get_client", lambda **_: SimulatedClient(server)),
                (flows.notification.wait, "send_later", send_later),
                (flows.notification.overdue, "get_client", lambda **_: SimulatedClient(server)),
                (flows.sweep, "announce", announcement(server)),
            ):
                stack.enter_context(patch.object(module, name, value))
            yield

    def drop(self, key: str, content: str) -> None:
        """Drop a file into the bucket."""
        self.uploads.setdefault(key, []).append(content)
        self.world.scheduler.log("sender", "drops {}: {!r}".format, key, content)
        self.world.s3.client.put_object(Bucket=BUCKET, Key=key, Body=content.encode())

    def start_relay(self, name: str, until: float = float("inf"), *, faults: bool = True) -> None:
        """A relay, which is started again a while after it has ended, until it is told to stop at that time."""

        def restart(_: Process) -> None:
            if self.world.scheduler.now < until:
                self.world.scheduler.later(self.world.random.uniform(1, 40), self.start_relay, name, until)

        self.world.process(name, partial(self._relay, until), faults=faults).on_end(restart)

    def start_sweep(self) -> None:
        """A sweep, with its steps one after the other."""
        self.world.process("sweep", self._sweep)

    # ---- Processes ------------------------------------------------------------------------------------------------

    def _start_run(self, run: Run) -> Process:
        body = self._ingest if run.kind == "ingest" else self._notify
        process = self.world.process(f"{run.kind}-{next(self._numbers)}", partial(body, run))
        process.properties["flow_run_id"] = run.id
        return process

    def _relay(self, until: float) -> None:
        stop = _Stop(self.world, until)
        queue = SqsQueue(self.world.client("sqs"), self.queue.url, now=runtime().monotonic)  # type: ignore[arg-type]
        upkeep = Upkeep(lambda: _blocks().file_ledger)
        upkeep.take_up_emails = self._overdue_emails  # type: ignore[method-assign]
        upkeep.end_silent_runs = lambda: None  # type: ignore[method-assign] # the server does it here
        relay = Relay(
            queue,
            "incoming/",
            self.slots,
            lambda: _blocks().file_ledger,
            announce=announcement(self.server),
            timings=TIMINGS,
            upkeep=upkeep,
        )
        relay.run(stop)  # type: ignore[arg-type]

    def _overdue_emails(self) -> None:
        take_up_overdue_emails(
            _blocks().file_ledger, lambda reports, email: notification(self.server, reports, 0, email)
        )

    def _sweep(self) -> None:
        log = runtime().log()
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("take over", flows.sweep.take_over_from_0_1.fn),
            ("due", lambda: flows.sweep.announce_due_files.fn(self.slots)),
            ("unannounced", lambda: flows.sweep.announce_unannounced_files.fn(self.slots, 900)),
            ("emails", self._overdue_emails),
        ]
        for name, step in steps:
            try:
                done = step()
                if isinstance(done, list):
                    self.announced_by_sweep += [file.uri for file in done]
            except Exception as error:  # noqa: BLE001 - as the sweep isolates its steps
                log.warning("step %s of the sweep failed: %r", name, error)

    def _ingest(self, run: Run) -> None:
        files = list({file.uri: file for file in run.parameters["objects"]}.values())
        with email_collected(files, WAIT_SECONDS) as email:
            loads = mapped(partial(ingest_or_report, large_files=LargeFiles(), email=email), files, FILES_AT_ONCE)
            reports = email.completed([report for reports in loads for report in reports])
            unnotified = [report for report in reports if not report.already_done]
            flows.notification.wait.notify_later(unnotified, WAIT_SECONDS, None, email)  # type: ignore[arg-type]

    def _notify(self, run: Run) -> None:
        flows.notify.notify.fn(run.parameters["files"], 0, run.parameters["email_id"])

    # ---- Rows -----------------------------------------------------------------------------------------------------

    def _write(
        self,
        rows: "Iterable[Any]",
        _on_progress: Callable[[int], object] = lambda _: None,
        *,
        fence: Callable[[], object],
        on_unanswered: Callable[[], object],
    ) -> int:
        lease: Lease = fence.__self__  # type: ignore[attr-defined] # it is a method

        def checked() -> None:
            self.invariants.rows_are_sent(lease)
            fence()
            self.invariants.rows_were_let_through(lease)

        return self.world.readings.write(
            rows,
            version=self.invariants.origin(lease),
            fence=checked,
            on_unanswered=on_unanswered,
            batch_rows=2,
            patience_seconds=self.patience_seconds,
        )

    def _watched(self, give_up: Callable[[Lease, BaseException], bool]) -> Callable[[Lease, BaseException], bool]:
        def watched(lease: Lease, error: BaseException) -> bool:
            process = running_process()
            faults_met = process.faults_met
            is_held = give_up(lease, error)
            if isinstance(error, LeaseLostError) and process.faults_met == faults_met:
                self.invariants.load_was_lost(lease)
            return is_held

        return watched

    def _watched_email(self, send: Callable[..., str]) -> Callable[..., str]:
        def watched(claimed: ClaimedEmail, files: list[FileReport], name: str, created_by: str | None) -> str:
            self.invariants.email_is_sent(claimed)
            return send(claimed, files, name, created_by)

        return watched

    def _is_announced(self, key: str) -> bool:
        """Whether no event of an object under that key is in the queue, on its way there, or a dead letter.

        A message that five processes have received and not deleted is a dead letter; the sweep finds its file.
        """
        late = self.world.faults.late_delivery or self.world.faults.repeated_delivery
        if self.world.scheduler.now < self.last_drop_at + (LATEST_SECONDS + 10 if late else 10):
            return False
        assert self.queue.dead_letters
        messages = (*self.queue.messages, *self.queue.dead_letters.messages)
        return not any(f'"{key}"' in message.body for message in messages)


def _blocks() -> SavedBlocks:
    """The blocks of the process that asks: each process has a ledger of its own, with its own idea of the time."""
    properties = running_process().properties
    if "blocks" not in properties:
        properties["blocks"] = SavedBlocks(
            _LANDING_ZONE,
            _READINGS_TABLE,
            FileLedger(table_name="files", attempts=ATTEMPTS),
            _MAILER,
        )
    blocks_of_process: SavedBlocks = properties["blocks"]
    return blocks_of_process


class _InProcess:
    """A task that is called without Prefect, with its own retries."""

    def __init__(self, task: Any) -> None:  # noqa: ANN401 - any task
        self._call: Any = within_task_run(task)

    def with_options(self, **_: object) -> "_InProcess":
        return self

    def __call__(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the task
        return self._call(*args, **named)


class _Stop:
    """A stop signal that comes at a time; it ends no wait."""

    def __init__(self, world: World, at: float) -> None:
        self._flag, self._scheduler, self._at = Flag(world.scheduler), world.scheduler, at

    @property
    def requested(self) -> bool:
        return self._scheduler.now >= self._at

    def wait(self, seconds: float | None = None) -> bool:
        return self._flag.wait(seconds)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        yield


_SETTINGS = ValidationSettings(feed=SENSOR_READINGS)


@dataclass(frozen=True)
class _Validated:
    """As much of a validated file as the steps of a load look at."""

    rows: list[tuple[str, int, str]]
    verdict: str
    counts: RowCounts

    reasons: dict[str, int] = field(default_factory=dict)
    first_rejects: list[Any] = field(default_factory=list)
    rejects_path: None = None
    rejects_stored: int = 0
    refusal: str | None = None
    summary: None = None
    settings: ValidationSettings = _SETTINGS

    def items(self) -> list[tuple[str, int, str]]:
        return self.rows


def _validated(body: BinaryIO, _workspace: object, _settings: object) -> _Validated:
    lines = body.read().decode().split()
    if lines[0] == "refuse":
        rejected = RowCounts(lines=len(lines), rows=len(lines), rejected=len(lines))
        return _Validated([], "refused", rejected, refusal="all of it")
    rows = [(sensor, int(second), value) for sensor, second, value in (line.split(",") for line in lines)]
    return _Validated(rows, "accepted", RowCounts(lines=len(rows), rows=len(rows), accepted=len(rows)))


def _composed(reports: Sequence[FileReport], _links: object) -> Any:  # noqa: ANN401 - an Email
    text = "\n".join(f"{report.uri}@{report.version} {report.status}" for report in reports)
    return SimpleNamespace(subject="email", text=text, html="", pictures={})


def _sent(mailer: Mailer, _subject: str, text: str, *_: object, recipients: Sequence[str]) -> str:
    content: Any = {"Raw": {"Data": text.encode()}}
    answer: Any = mailer._client("sesv2").send_email(  # noqa: SLF001 - what `send` itself uses
        FromEmailAddress=mailer.sender, Destination={"ToAddresses": list(recipients)}, Content=content
    )
    return str(answer["MessageId"])


def _send_later(
    server: PrefectServer, reports: Sequence[FileReport], wait_seconds: float, _notify: object, email_id: str
) -> Any:  # noqa: ANN401 - a Notification
    created = notification(server, reports, wait_seconds, email_id)
    blocks.saved_blocks.run_blocks().file_ledger.assign_run(email_id, created.flow_run_id)
    return created
