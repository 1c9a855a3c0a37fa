"""What the relay does every few seconds in threads of its own: each chore, and those about emails and silent runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from prefect.client.orchestration import get_client

from blocks.domain.names import WORK_POOL
from blocks.file_ledger import FileLedger
from blocks.runtime import runtime
from blocks.saved_blocks import load_ledger
from deployments.relay.logger import log
from deployments.relay.metrics import RelayMetrics
from deployments.relay.stop_signal import StopSignal
from deployments.relay.timings import Timings
from deployments.server.api_access import refusals_explained
from deployments.server.crash_automation import silence_in
from flows.notification.overdue import send_by_deployment, take_up_overdue_emails
from flows.recovery.silent_runs import SilentRunWatch, cancel_runs_without_queue, end_runs

SILENT_RUNS_EVERY_SECONDS: Final = 15.0
"""Between two looks for silent runs: they read the parameters of the active runs, up to half a megabyte each."""

LEDGER_READ_EVERY_SECONDS: Final = 60.0
"""The block is read again at this interval, as it may have been edited in the UI."""


class LedgerOfServer:
    """The ledger as its block on the Prefect server describes it; the last one known while the server is away."""

    def __init__(self, load: Callable[[], FileLedger] = load_ledger) -> None:
        self._load = load
        self._known: tuple[FileLedger, float] | None = None
        """The ledger, and when the block is read again, in monotonic seconds."""
        self._problem = ""
        """Why it could not be read again the last time; it is logged once."""

    def __call__(self) -> FileLedger:
        """The ledger. Raises only while it was never read: the server is away, or the block is missing or invalid."""
        now = runtime().monotonic()
        if self._known is None:
            self._known = self._load(), now + LEDGER_READ_EVERY_SECONDS
        elif now >= self._known[1]:
            self._known = self._known[0], now + LEDGER_READ_EVERY_SECONDS  # at once: several threads ask
            self._known = self._read_again(self._known[0]), self._known[1]
        return self._known[0]

    def _read_again(self, known: FileLedger) -> FileLedger:
        """The ledger as its block is now; the known one, with its table's time, if that has not changed."""
        try:
            loaded = self._load()
        except Exception as error:  # noqa: BLE001 - Prefect fails in many ways, and the ledger works without it
            problem = str(error) or type(error).__name__
            if problem != self._problem:
                log.warning("the ledger's block cannot be read again, and is used as it was: %s", problem)
            self._problem = problem
            return known
        self._problem = ""
        return known if loaded.model_dump() == known.model_dump() else loaded


@dataclass
class Chore:
    """Something to look for over and over; after a failure the next look comes later."""

    name: str
    action: Callable[[], object]
    stop: StopSignal
    metrics: RelayMetrics
    timings: Timings
    _failures: int = 0
    _not_before: float = float("-inf")

    def look(self) -> bool:
        """Whether to look again: until a stop is requested."""
        if not self.stop.requested and runtime().monotonic() >= self._not_before:
            try:
                with refusals_explained():
                    self.action()
                self._failures = 0
            except Exception as error:  # noqa: BLE001 - Prefect and AWS fail in many ways
                self._note_failure(error)
        return not self.stop.requested

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        delay = self.timings.retry_delay_seconds(self._failures)
        self._not_before = runtime().monotonic() + delay
        self.metrics.failures += 1
        self.metrics.last_failure = str(error) or type(error).__name__
        log.warning("%s failed; next attempt in %g s: %s", self.name, delay, self.metrics.last_failure)


@dataclass
class Upkeep:
    """Overdue emails get a run, and runs that nothing can end give up their slots."""

    ledger: Callable[[], FileLedger]
    _watch: SilentRunWatch | None = None
    _looked_at: float = field(default=float("-inf"))

    def take_up_emails(self) -> None:
        """Resume or start the runs of overdue emails."""
        take_up_overdue_emails(self.ledger(), send_by_deployment)

    def end_silent_runs(self) -> None:
        """End the runs whose process is gone, and those that no worker will take up; every 15 seconds."""
        now = runtime().monotonic()
        if now - self._looked_at < SILENT_RUNS_EVERY_SECONDS:
            return
        self._looked_at = now
        with get_client(sync_client=True) as client:
            # In a pool that provisions machines, such as ECS, a run is silent for longer at its start.
            watch = self._watch or SilentRunWatch(silence_in(client.read_work_pool(WORK_POOL).type))
            self._watch = watch
            end_runs(client, watch.look(client))
            cancel_runs_without_queue(client)
