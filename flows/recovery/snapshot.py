"""What a sweep has to mend, decided from what bucket, ledger and Prefect server know. Pure rules, no I/O."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from blocks.domain.models import SETTLED, LedgerEntry, SensorFile

OVERDUE_AFTER: Final = timedelta(seconds=60)
"""How long after its wait a paused run is overdue: the automation that resumes it takes a few seconds."""

LONGEST_REST: Final = 4
"""So many times the age from which a file is taken for stranded: an hour, if nobody says otherwise."""


@dataclass(frozen=True)
class RunUnderWay:
    """A run of one of our flows that has not ended."""

    id: str
    name: str
    state: str
    """Its type, such as `RUNNING`."""
    since: datetime
    """When it came into that state."""
    files: frozenset[str]
    """Addresses of the files that it is about."""
    wait: timedelta | None = None
    """How long its pause was to take, where that is known."""
    by_schedule: bool = False
    """Whether a schedule asked for it."""


@dataclass(frozen=True)
class Situation:
    """Who is at work on what."""

    now: datetime
    patience: timedelta
    """How long a run may be without a sign of life, and a result without an email."""
    entries: list[LedgerEntry]
    """Those of the ledger that still need something."""
    ingests: list[RunUnderWay]
    emails: list[RunUnderWay]
    ended: AbstractSet[str]
    """Ids of the runs named in the entries that the server knows to have ended."""
    sweeps: list[RunUnderWay] = field(default_factory=list)
    """Those but this one."""
    begun: datetime | None = None
    """When this one began, if a schedule and not a person asked for it."""
    dead_after: timedelta = timedelta(minutes=15)
    """How long a run that should have a process may be without a sign of life before its slot is given to others."""

    def older_sweep(self) -> RunUnderWay | None:
        """A sweep that began before this one and is at work: two at once would take up the same, and tell of it twice.

        Where no worker ran for hours, all the sweeps of that time are due when it is back. What a person asks for, with
        thresholds of their own perhaps, is done.
        """
        begun = self.begun
        older = (run for run in self.sweeps if run.state == "RUNNING" and begun and run.since < begun)
        return next((run for run in older if self._shows_life(run, self.dead_after)), None)

    def dead(self) -> Iterator[RunUnderWay]:
        """The runs whose process is gone without a word: each keeps a slot that others wait for."""
        waited_with = self._told_soon()  # a run that waits in its own process shows nothing but its paused email
        for run in [*self.ingests, *self.emails, *self.sweeps]:
            if not self._shows_life(run, self.dead_after) and not (run in self.ingests and run.files & waited_with):
                yield run

    def left_behind(self) -> Iterator[LedgerEntry]:
        """The entries on which a run holds a lease that has ended, and did not give it back: its process is gone."""
        for entry in self.entries:
            if self._is_leased(entry) and entry.flow_run_id in self.ended:
                yield entry

    def abandoned(self) -> Iterator[LedgerEntry]:
        """The entries that no run is working on, though they are not settled."""
        for entry in self.entries:
            if entry.status not in SETTLED and not self._is_held(entry) and entry.uri not in self._in_runs():
                yield entry

    def stranded(self, waiting: Iterable[SensorFile]) -> Iterator[SensorFile]:
        """Of the files that wait in `incoming/`, those that no run has in hand and whose turn it is."""
        in_hand = self._in_runs() | {entry.uri for entry in self.entries if self._is_held(entry)}
        at_rest = {(entry.uri, entry.etag) for entry in self.entries if self._rests(entry)}
        return (file for file in waiting if file.uri not in in_hand and (file.uri, file.etag) not in at_rest)

    def suspects(self) -> set[str]:
        """Addresses of the files of which more than one load has failed or died: they are tried again one by one.

        So one that makes every process die takes no others with it for long. After one load it may have been the
        process, which had others in hand; runs of their own for all of those would wait for one another.
        """
        return {entry.uri for entry in self.entries if entry.status not in SETTLED and entry.attempts > 1}

    def overdue(self) -> Iterator[RunUnderWay]:
        """The emails whose wait is over, and which nothing has resumed."""
        for run in self.emails:
            if run.state == "PAUSED" and run.wait is not None and run.since + run.wait + OVERDUE_AFTER < self.now:
                yield run

    def untold(self) -> Iterator[LedgerEntry]:
        """The settled entries about which no email was sent, and none is on the way."""
        told_soon = self._told_soon()
        alive = {run.id for run in self.ingests if self._is_alive(run)}
        for entry in self.entries:
            finished_long_ago = entry.finished_at is not None and entry.finished_at + self.patience < self.now
            if (
                entry.status in SETTLED
                and finished_long_ago
                and entry.uri not in told_soon
                and entry.flow_run_id not in alive
            ):
                yield entry

    def _in_runs(self) -> set[str]:
        return {file for run in self.ingests if self._is_alive(run) for file in run.files}

    def _told_soon(self) -> set[str]:
        return {file for run in self.emails if self._is_alive(run) for file in run.files}

    def _is_leased(self, entry: LedgerEntry) -> bool:
        return entry.is_in_hand(self.now)

    def _is_held(self, entry: LedgerEntry) -> bool:
        return self._is_leased(entry) and entry.flow_run_id not in self.ended

    def _rests(self, entry: LedgerEntry) -> bool:
        """Whether AWS refused the file so lately that to ask again would only make for another email about it.

        Such loads do not count, so nothing else would ever end that: a key of KMS that runs may not use, say.
        """
        in_vain = entry.tries - entry.attempts
        if entry.status in SETTLED or in_vain <= 0:
            return False
        return entry.claimed_at + self.patience * min(1 << (in_vain - 1), LONGEST_REST) > self.now

    def _is_alive(self, run: RunUnderWay) -> bool:
        """Whether the run can be counted on."""
        return self._shows_life(run, self.patience)

    def _shows_life(self, run: RunUnderWay, within: timedelta) -> bool:
        """Whether the run waits for its turn, or has shown a sign of life.

        Prefect shows a run as running for ever whose process and worker died together. One that loads renews leases and
        settles files; one that waits for a worker or a slot has nothing to show.
        """
        if run.state in ("SCHEDULED", "PAUSED"):
            return True
        mine = [entry for entry in self.entries if entry.flow_run_id == run.id]
        if any(self._is_leased(entry) for entry in mine):
            return True
        signs = [run.since, *(entry.finished_at or entry.claimed_at for entry in mine)]
        return max(signs) + within > self.now
