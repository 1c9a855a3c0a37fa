"""The relay: what S3 has put into the queue becomes few Prefect events, and only then leaves the queue.

A run costs seconds, whatever it does. So what arrives while all runs that there may be are busy waits in the queue, and
goes on together when one of them has ended.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import boto3

from blocks.domain.limits import in_groups
from blocks.domain.models import SensorFile
from blocks.stack_outputs import StackOutputs
from deployments.relay.batch import Batch, Recent
from deployments.relay.metrics import Figures, Reporter, metrics_endpoint, say_every_minute
from deployments.relay.run_slots import DeploymentSlots, Slots
from deployments.relay.s3_events import UnknownMessageError, arrivals
from deployments.relay.sqs_queue import LONG_POLL_SECONDS, MESSAGES_PER_CALL, ArrivalQueue, Keeper
from deployments.relay.stop_signal import StopRequested, StopSignal
from deployments.server.api_access import require_api
from deployments.settings import Settings
from flows.events.file_arrivals import announce

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = logging.getLogger("relay")


@dataclass(frozen=True)
class Pace:
    """How long the relay waits for what, in seconds."""

    look_again: float = 0.05
    """After the first file, to see whether it comes alone; then it goes at once."""
    linger: int = 1
    """The silence that ends a batch of files that come together. SQS takes whole seconds."""
    longest_linger: float = 5
    """The age at which a batch goes although more keeps coming."""
    slot: float = 1
    """Between two questions whether a run has ended, while all that there may be are busy."""
    away: Sequence[float] = (1, 2, 5, 15)
    """Pauses while SQS or Prefect cannot be reached; the last one again and again."""

    def away_after(self, failures: int) -> float:
        """The pause after that many failures in a row."""
        return self.away[min(failures, len(self.away)) - 1]


@dataclass
class Relay:
    """Carries announcements of files from an SQS queue to a Prefect server."""

    queue: ArrivalQueue
    incoming_prefix: str
    slots: Slots
    announce: Callable[[Sequence[SensorFile], str], object] = announce
    """Returns once the server has acknowledged what it was given, the files and the prefix they are under."""
    pace: Pace = field(default_factory=Pace)
    figures: Figures = field(default_factory=Figures)
    _recent: Recent = field(default_factory=Recent)

    @classmethod
    def of_stack(cls) -> Self:
        """A relay for the queue of the CloudFormation stack that the settings name.

        Raises:
            ApiMissingError: no Prefect server is named, and a temporary one would swallow what is announced to it.
            StackMissingError: there is no such stack where the AWS credentials and region lead.
        """
        require_api()
        outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
        queue = ArrivalQueue(boto3.client("sqs"), outputs.queue_url)
        return cls(queue, outputs.incoming_prefix, DeploymentSlots())

    def reporter(self) -> Reporter:
        """Tells what this relay does."""
        return Reporter(self.figures, self.queue.backlog)

    def serve(self, stop: StopSignal, metrics_port: int | None = None) -> None:
        """Runs, says figures every minute, and with a port (0: any free one) shows them to Prometheus on loopback."""
        reporter = self.reporter()
        with ExitStack() as services:
            if metrics_port is not None:
                log.info("metrics are on %s", services.enter_context(metrics_endpoint(reporter, metrics_port)))
            say_every_minute(reporter, stop)
            self.run(stop)

    def run(self, stop: StopSignal) -> None:
        """Returns when a stop is asked for. What is in hand by then is announced, or given back to the queue."""
        failures = 0
        while not stop.requested:
            try:
                self.relay_once(stop)
                failures = 0
            except StopRequested:
                return
            except Exception as error:  # noqa: BLE001 - SQS and Prefect fail in many ways; the queue keeps the messages
                failures += 1
                self._pause(stop, failures, error, "nothing is taken from the queue")

    def relay_once(self, stop: StopSignal, wait_seconds: int = LONG_POLL_SECONDS) -> int:
        """The number of files announced, after waiting for the first of them up to `wait_seconds`.

        While no run may begin nothing is taken, so nothing has to be kept out of sight: it waits for `pace.slot`.
        """
        if not self._free_slots():
            stop.wait(self.pace.slot)
            return 0
        batch = Batch()
        try:
            keeper = self._gather(batch, stop, wait_seconds)
            return self._announce_all(batch, keeper, stop)
        finally:
            self._let_go(batch)

    def _free_slots(self) -> int:
        # Taken and not announced too often, a message ends among the dead letters. So nothing is taken in vain: this
        # also raises while Prefect cannot be reached.
        self.figures.slots_free = self.slots.free()
        return self.figures.slots_free

    def _gather(self, batch: Batch, stop: StopSignal, wait_seconds: int) -> Keeper:
        """Fill the batch with what has arrived: one file alone goes at once, those that come together go together."""
        messages = self._receive(batch, stop, wait_seconds)
        keeper = self.queue.keeper(self.queue.now())
        deadline = self.queue.now() + self.pace.longest_linger
        looked_again = False
        while messages and not batch.is_full and not stop.requested and self.queue.now() < deadline:
            if len(messages) == MESSAGES_PER_CALL:
                wait = 0  # there are more right now
            elif not looked_again:
                looked_again, wait = not stop.wait(self.pace.look_again), 0
            elif len(batch.files) > 1:
                wait = self.pace.linger
            else:
                break
            messages = self._receive(batch, stop, wait)
        return keeper

    def _receive(self, batch: Batch, stop: StopSignal, wait_seconds: int) -> list["MessageTypeDef"]:
        messages = self.queue.receive(stop, wait_seconds)
        for message in messages:
            try:
                files = arrivals(message["Body"], prefix=self.incoming_prefix)
            except UnknownMessageError as error:
                log.warning("left to the dead letters: %s", error)
            else:
                batch.add(message, files, self._recent)
        if not messages:
            self.figures.empty_at = time.time()
        self.figures.in_hand, self.figures.oldest_in_hand = len(batch.messages), batch.oldest
        return messages

    def _announce_all(self, batch: Batch, keeper: Keeper, stop: StopSignal) -> int:
        """The number of files announced, an event at a time, each when a run may begin."""
        self.figures.doubles += batch.doubles
        self.queue.delete(batch.settle([]))  # doubles, folders, deletions
        for files in in_groups(batch.files.values()):
            self._when_a_run_may_begin(batch, keeper, stop)
            self._insist(self.slots.take, batch, keeper, stop)
            self._announce(files, batch, keeper, stop)
            self._recent.add(files)
            self.figures.events += 1
            self.figures.files += len(files)
            waited = time.time() - batch.oldest if batch.oldest else 0
            names = ", ".join(file.uri for file in files[:3])
            log.info("announced %d file(s), the first after %.1f s in the queue: %s", len(files), waited, names)
            self.queue.delete(batch.settle(files))
        return len(batch.files)

    def _when_a_run_may_begin(self, batch: Batch, keeper: Keeper, stop: StopSignal) -> None:
        while not self._insist(self._free_slots, batch, keeper, stop):
            keeper.keep(batch.messages)
            if stop.wait(self.pace.slot):
                raise StopRequested

    def _announce(self, files: Sequence[SensorFile], batch: Batch, keeper: Keeper, stop: StopSignal) -> None:
        self._insist(lambda: self.announce(files, self.incoming_prefix), batch, keeper, stop)

    def _insist(self, ask: Callable[[], object], batch: Batch, keeper: Keeper, stop: StopSignal) -> object:
        """What Prefect answers, once it does; meanwhile the messages in hand are kept.

        Raises:
            StopRequested: a stop was asked for, and Prefect has not answered yet.
        """
        failures = 0
        while True:
            try:
                return ask()
            except Exception as error:  # noqa: BLE001 - Prefect is away in many ways
                failures += 1
                self._pause(stop, failures, error, f"{len(batch.messages)} message(s) are kept in hand")
            if stop.requested:
                raise StopRequested
            keeper.keep(batch.messages)

    def _pause(self, stop: StopSignal, failures: int, error: Exception, meanwhile: str) -> None:
        pause = self.pace.away_after(failures)
        self.figures.failures += 1
        self.figures.last_failure = str(error) or type(error).__name__
        log.warning("not relayed, %s; trying again in %g s: %s", meanwhile, pause, self.figures.last_failure)
        stop.wait(pause)

    def _let_go(self, batch: Batch) -> None:
        """Give back what is still in hand; should that fail, SQS shows it to others by itself soon."""
        if batch.messages:
            with suppress(Exception):
                self.queue.give_back(batch.messages)
        self.figures.in_hand, self.figures.oldest_in_hand = 0, None
