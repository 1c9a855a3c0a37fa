"""The relay: it turns messages of S3 into few Prefect events, and deletes a message once its event is acknowledged.

A run takes seconds to start, whatever it loads. So the relay sends an event only when a run can start at once; until
then files wait in the queue, and the next event announces all of them.

Before it announces a file it records in the ledger that a run is expected to claim it. Files that no run has claimed
by then, and those whose load ended before it was done, are due; another thread announces them under the same limit.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import boto3

from blocks.domain.limits import in_groups
from blocks.domain.models import SensorFile
from blocks.file_ledger import FileLedger
from blocks.runtime import runtime
from blocks.stack_outputs import current_stack_outputs
from deployments.relay.batch import Batch, RecentVersions
from deployments.relay.logger import log
from deployments.relay.metrics import RelayMetrics, RelayMonitor, metrics_endpoint, start_status_log
from deployments.relay.s3_events import UnknownMessageError, announced_files
from deployments.relay.sqs_queue import FAIL_FAST, LONG_POLL_SECONDS, MESSAGES_PER_CALL, SqsQueue, VisibilityExtender
from deployments.relay.stop_signal import StopRequested, StopSignal
from deployments.relay.timings import Timings
from deployments.relay.upkeep import Chore, LedgerOfServer, Upkeep
from deployments.server.api_access import refusals_explained, require_api
from flows.events.file_arrivals import announce
from flows.recovery.due_files import CLAIMED_WITHIN, Announce, take_up_due
from flows.recovery.run_slots import DeploymentSlots, Slots

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

Answer = TypeVar("Answer")


@dataclass
class Relay:
    """Announces the files of an SQS queue to a Prefect server."""

    queue: SqsQueue
    incoming_prefix: str
    slots: Slots
    ledger: Callable[[], FileLedger]
    announce: Announce = announce
    """Sends the files, their prefix and an occasion as one event; returns when the server has acknowledged it."""
    timings: Timings = field(default_factory=Timings)
    upkeep: Upkeep | None = None
    """What else is looked for, if anything."""
    metrics: RelayMetrics = field(default_factory=RelayMetrics)
    _recent: RecentVersions = field(default_factory=RecentVersions)

    @classmethod
    def of_stack(cls) -> Self:
        """A relay for the queue of the CloudFormation stack that the settings name.

        Raises:
            ApiMissingError: no Prefect server is configured; Prefect would start a temporary one, and lose the events.
            StackMissingError: the account and region of the AWS credentials have no such stack.
        """
        require_api()
        outputs = current_stack_outputs()
        fail_fast = boto3.client("sqs", config=FAIL_FAST)
        queue = SqsQueue(boto3.client("sqs"), outputs.queue_url, backlog_client=fail_fast)
        ledger = LedgerOfServer()
        return cls(queue, outputs.incoming_prefix, DeploymentSlots(), ledger, upkeep=Upkeep(ledger))

    def monitor(self) -> RelayMonitor:
        return RelayMonitor(self.metrics, self.queue.backlog)

    def serve(self, stop: StopSignal, metrics_port: int | None = None) -> None:
        """Run with a status line a minute and, if a port is given (0: any free port), an endpoint for Prometheus."""
        monitor = self.monitor()
        with ExitStack() as services:
            if metrics_port is not None:
                log.info("metrics are on %s", services.enter_context(metrics_endpoint(monitor, metrics_port)))
            start_status_log(monitor, stop)
            self.run(stop)

    def run(self, stop: StopSignal) -> None:
        """Relay batches until a stop is requested. Messages in flight are then announced, or released to the queue."""
        looks = [("the look for due files", self.take_up_due_files, self.timings.due_look_seconds)]
        if self.upkeep:
            every = self.timings.upkeep_seconds
            looks.append(("the look for overdue emails", self.upkeep.take_up_emails, every))
            looks.append(("the look for silent runs", self.upkeep.end_silent_runs, every))
        with ExitStack() as threads:
            for name, action, every in looks:
                chore = Chore(name, action, stop, self.metrics, self.timings)
                threads.enter_context(runtime().repeated(chore.look, every, name))
            self._relay_until(stop)

    def take_up_due_files(self) -> None:
        """Announce the due files, as many as there are free run slots for."""
        files = take_up_due(self.ledger(), self.slots, self.announce, self.incoming_prefix)
        self.metrics.due_files += len(files)
        if files:
            uris = ", ".join(file.uri for file in files[:3])
            log.info("announced %d due file(s) again: %s", len(files), uris)

    def _relay_until(self, stop: StopSignal) -> None:
        failures = 0
        while not stop.requested:
            try:
                self.relay_once(stop)
                failures = 0
            except StopRequested:
                return
            except Exception as error:  # noqa: BLE001 - SQS and Prefect fail in many ways; the queue keeps the messages
                failures += 1
                self._wait_after_failure(failures, error, "no messages are in flight", stop)

    def relay_once(self, stop: StopSignal, wait_seconds: int = LONG_POLL_SECONDS) -> int:
        """The number of files announced, after a wait for the first message of up to `wait_seconds`.

        If no run slot is free, it receives nothing and waits for `timings.slot_poll_seconds`. If Prefect cannot be
        reached, it receives nothing and raises: a message that is received five times and not deleted is a dead letter.
        """
        if not self._free_slots():
            stop.wait(self.timings.slot_poll_seconds)
            return 0
        batch = Batch()
        try:
            extender = self._gather(batch, stop, wait_seconds)
            return self._announce_all(batch, extender, stop)
        finally:
            self._release(batch)

    def _free_slots(self) -> int:
        with refusals_explained():
            self.metrics.slots_free = self.slots.free()
        return self.metrics.slots_free

    def _take_slot(self) -> bool:
        with refusals_explained():
            return self.slots.take()

    def _expect(self, files: Sequence[SensorFile]) -> None:
        self.ledger().expect(files, CLAIMED_WITHIN)

    def _gather(self, batch: Batch, stop: StopSignal, wait_seconds: int) -> VisibilityExtender:
        """Receive messages into the batch: a single file is announced at once, files that arrive together in one event.

        Returns:
            the extender for the messages in the batch.
        """
        messages = self._receive(batch, stop, wait_seconds)
        extender = VisibilityExtender(self.queue)
        deadline = self.queue.now() + self.timings.batch_max_seconds
        received_again = False
        while messages and not batch.is_full and not stop.requested and self.queue.now() < deadline:
            if len(messages) == MESSAGES_PER_CALL:
                wait = 0  # the queue has more
            elif not received_again:
                stop.wait(self.timings.second_receive_after_seconds)
                received_again, wait = True, 0
            elif len(batch.files) > 1:
                wait = self.timings.batch_quiet_seconds
            else:
                break
            messages = self._receive(batch, stop, wait)
        return extender

    def _receive(self, batch: Batch, stop: StopSignal, wait_seconds: int) -> list["MessageTypeDef"]:
        messages = self.queue.receive(stop, wait_seconds)
        for message in messages:
            try:
                files = announced_files(message["Body"], prefix=self.incoming_prefix)
            except UnknownMessageError as error:
                log.warning("message %s will become a dead letter: %s", message["MessageId"], error)
            else:
                batch.add(message, files, self._recent)
        if not messages:
            self.metrics.empty_at = time.time()
        self.metrics.in_flight, self.metrics.oldest_sent_at = len(batch.messages), batch.oldest_sent_at
        return messages

    def _announce_all(self, batch: Batch, extender: VisibilityExtender, stop: StopSignal) -> int:
        """The number of files announced, in as many events as needed; each event waits for a free run slot."""
        retry = partial(self._retry_until_answered, batch, extender, stop)
        self.metrics.duplicates += batch.duplicates
        self.queue.delete(batch.take_completed())  # messages that announce only duplicates, folders or deletions
        for files in in_groups(batch.files.values()):
            while not retry(self._take_slot):
                extender.extend(batch.messages)
                if stop.wait(self.timings.slot_poll_seconds):
                    raise StopRequested
            retry(partial(self._expect, files))
            retry(partial(self.announce, files, self.incoming_prefix, ""))
            self._record(files, batch)
            self.queue.delete(batch.take_completed(files))
        return len(batch.files)

    def _retry_until_answered(
        self, batch: Batch, extender: VisibilityExtender, stop: StopSignal, call: Callable[[], Answer]
    ) -> Answer:
        """What the call to Prefect returns once it succeeds; until then the messages stay in flight.

        Raises:
            StopRequested: a stop was requested before the call succeeded.
        """
        failures = 0
        while True:
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - Prefect fails in many ways
                failures += 1
                self._wait_after_failure(failures, error, f"{len(batch.messages)} message(s) stay in flight", stop)
            if stop.requested:
                raise StopRequested
            extender.extend(batch.messages)

    def _wait_after_failure(self, failures: int, error: Exception, consequence: str, stop: StopSignal) -> None:
        delay = self.timings.retry_delay_seconds(failures)
        self.metrics.failures += 1
        self.metrics.last_failure = str(error) or type(error).__name__
        log.warning("not relayed, %s; next attempt in %g s: %s", consequence, delay, self.metrics.last_failure)
        stop.wait(delay)

    def _record(self, files: Sequence[SensorFile], batch: Batch) -> None:
        self._recent.add(files)
        self.metrics.events += 1
        self.metrics.files += len(files)
        waited = time.time() - batch.oldest_sent_at if batch.oldest_sent_at else 0
        uris = ", ".join(file.uri for file in files[:3])
        log.info("announced %d file(s), the oldest after %.1f s in the queue: %s", len(files), waited, uris)

    def _release(self, batch: Batch) -> None:
        if batch.messages:
            with suppress(Exception):  # the visibility timeout ends soon, which has the same effect
                self.queue.release(batch.messages)
        self.metrics.in_flight, self.metrics.oldest_sent_at = 0, None
