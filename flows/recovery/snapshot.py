"""What ledger and Prefect server show at one moment: which runs are alive, and which files they hold. Pure, no I/O."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from blocks.domain.models import LedgerEntry


@dataclass(frozen=True)
class ActiveRun:
    """A run of one of our flows that has not ended."""

    id: str
    name: str
    state: str
    """The type of its state, such as `RUNNING`."""
    since: datetime
    """When it entered that state."""
    files: frozenset[str]
    """Addresses of the files in its parameters."""
    wait: timedelta | None = None
    """How long its pause is meant to take, where that is known."""
    scheduled: bool = False
    """Whether a schedule created it."""


@dataclass(frozen=True)
class RecoverySnapshot:
    """The non-terminal runs and the unfinished ledger entries, as read at `now`."""

    now: datetime
    patience: timedelta
    """Age from which a file in `incoming/`, a silent run, or a result without an email is taken up."""
    entries: list[LedgerEntry]
    """The ledger entries that still need a load or an email."""
    ingests: list[ActiveRun]
    emails: list[ActiveRun]
    ended: AbstractSet[str]
    """Ids of the runs named in the entries that the server knows to have ended."""
    sweeps: list[ActiveRun] = field(default_factory=list)
    """The other sweeps."""
    started: datetime | None = None
    """When this sweep started, if a schedule and not a person created it."""
    stalled_after: timedelta = timedelta(minutes=15)
    """Age of the last sign of life from which a run counts as stalled, so that its slot goes to another run."""

    def is_alive(self, run: ActiveRun, within: timedelta | None = None) -> bool:
        """Whether the run waits for its turn, or has shown a sign of life within that time; by default `patience`.

        Prefect shows a run as Running for ever if its process and its worker died together. A run that loads files
        renews leases and settles entries; a run that waits for a worker or a slot has nothing to show.
        """
        if run.state in ("SCHEDULED", "PAUSED"):
            return True
        own = [entry for entry in self.entries if entry.flow_run_id == run.id]
        if any(entry.is_leased(self.now) for entry in own):
            return True
        signs = [run.since, *(entry.finished_at or entry.claimed_at for entry in own)]
        return self.now - max(signs) < (self.patience if within is None else within)

    def is_held(self, entry: LedgerEntry) -> bool:
        """Whether a run that has not ended holds a lease on the entry's file."""
        return entry.is_leased(self.now) and entry.flow_run_id not in self.ended

    def files_in_runs(self) -> set[str]:
        """Addresses of the files in the parameters of live ingest runs."""
        return {file for run in self.ingests if self.is_alive(run) for file in run.files}

    def files_in_emails(self) -> set[str]:
        """Addresses of the files in the parameters of live notify runs."""
        return {file for run in self.emails if self.is_alive(run) for file in run.files}
