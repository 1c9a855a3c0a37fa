"""The ledger's table with the calls of a run that holds a key: keep it, settle its versions, end the claim."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from blocks.domain.errors import LeaseLostError
from blocks.domain.models import LedgerEntry
from blocks.file_ledger.claim_rules import ALL_VERSIONS, Claim, to_claim
from blocks.file_ledger.claim_table import LARGEST_EXPONENT, Change, ClaimTable, claim_put, revised
from blocks.file_ledger.table import Put, entry_attributes
from blocks.runtime import runtime

FIRST_BACK_OFF_SECONDS: Final = 10.0
LONGEST_BACK_OFF_SECONDS: Final = 3600.0


@dataclass
class HeldClaim:
    """The claim of a key that a run holds, as it was last written."""

    claim: Claim
    asked_at: float
    """Monotonic seconds before the request that last set the lease: it ends `claim_seconds` later, or after that."""
    began_at: datetime
    """The table's time when the key was claimed."""


class HoldingTable(ClaimTable):
    """The ledger's table with the calls of runs that hold keys."""

    def renew(self, held: HeldClaim) -> bool:
        """Whether the run still holds the key; if so, its lease lasts `claim_seconds` from now."""
        asked_at = runtime().monotonic()
        try:
            self._change_held(held, lambda claim: claim.renewed(self._clock.latest() + self._lease))
        except LeaseLostError:
            return False
        held.asked_at = asked_at
        return True

    def lease_seconds_left(self, bucket: str, key: str, claim_id: str) -> float | None:
        """The seconds until the lease of this claim ends, if it is not renewed; None if the claim has ended."""
        claim = self.claim_of(bucket, key)
        if claim.claim_id != claim_id or claim.lease_until is None:
            return None
        return (claim.lease_until - self._clock.latest()).total_seconds()

    def settle(self, held: HeldClaim, entry: LedgerEntry, *, unanswered: bool = False) -> None:
        """Write the entry of a version that needs no load any more; the key stays held.

        Args:
            held: the claim of the run.
            entry: with a terminal status and the results of the load.
            unanswered: whether rows of it may still arrive in the table.

        Raises:
            LeaseLostError: the lease expired, and another run has claimed the key since.
        """

        def settled(claim: Claim) -> Claim:
            now = self._clock.latest()
            late = claim.with_late_writes(claim.epoch, claim.holds, now) if unanswered else claim
            done = late.loaded(entry.version) if entry.status == "archived" else late.settled(entry.version)
            return done.renewed(now + self._lease)

        asked_at = runtime().monotonic()
        self._change_held(held, settled, lambda _: [entry.model_copy(update={"next_try_at": None})])
        held.asked_at = asked_at

    def end_claim(self, held: HeldClaim) -> bool:
        """Whether a version came meanwhile: then the key stays held by this run; else any run may claim it.

        Raises:
            LeaseLostError: the lease expired, and another run has claimed the key since.
        """
        self._change_held(held, lambda claim: claim if claim.unsettled else claim.released(self._clock.latest()))
        return held.claim.claim_id is not None

    def end_reload(self, held: HeldClaim, *, unanswered: bool = False) -> bool:
        """As `end_claim`, after the versions of a reload were written again."""

        def ended(claim: Claim) -> Claim:
            now = self._clock.latest()
            late = claim.with_late_writes(claim.epoch, ALL_VERSIONS, now) if unanswered else claim
            done = late.reloaded(held.began_at)
            return done if done.unsettled else done.released(now)

        self._change_held(held, ended)
        return held.claim.claim_id is not None

    def release(
        self,
        held: HeldClaim,
        entry: LedgerEntry | None = None,
        problem: str = "",
        *,
        counts: bool = True,
        unanswered: bool = False,
    ) -> LedgerEntry | None:
        """The entry of a version whose load failed, as it was written; the key is tried again after a back-off.

        None for a reload, and for a version that is settled: the answer to `settle` was lost.

        Args:
            held: the claim of the run.
            entry: of that version; None for a reload.
            problem: why the load failed.
            counts: whether the file is to blame; after `attempts` such loads it moves to `failed/`.
            unanswered: whether rows of it may still arrive in the table.

        Raises:
            LeaseLostError: the lease expired, and another run has claimed the key since.
        """
        later = self._clock.latest() + _back_off(entry.tries if entry else held.claim.reload_tries)
        waiting = None
        if entry:
            attempts = entry.attempts if counts else entry.attempts - 1
            status = "archived" if entry.archived_to else "waiting"
            # An archived file whose second load failed is still archived.
            waiting = entry.model_copy(
                update={"status": status, "problem": problem, "attempts": attempts, "next_try_at": later}
            )
            if status == "archived":
                waiting = waiting.model_copy(update={"next_try_at": None, "finished_at": runtime().utc_now()})

        def released(claim: Claim) -> Claim:
            now = self._clock.latest()
            late = claim.with_late_writes(claim.epoch, claim.holds, now) if unanswered else claim
            if waiting and waiting.status == "archived":
                return late.loaded(waiting.version).released(now)
            return late.put_off(later, now)

        written: list[LedgerEntry] = []

        def entries(claim: Claim) -> list[LedgerEntry]:
            written[:] = [waiting] if waiting and waiting.version in claim.unsettled else []
            return written

        self._change_held(held, released, entries)
        return next(iter(written), None)

    def record_lost_claim(self, held: HeldClaim) -> None:
        """Note that this run was writing rows when it lost the key: what was loaded since is written again."""
        lost = held.claim
        self.change(
            lost.bucket,
            lost.key,
            lambda claim: (
                claim
                if claim.claim_id == lost.claim_id
                else claim.overtaken(lost.epoch, lost.holds, self._clock.latest())
            ),
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self.claim_seconds)

    def _change_held(
        self, held: HeldClaim, change: Change, entries: Callable[[Claim], Iterable[LedgerEntry]] = lambda _: ()
    ) -> None:
        """Change the claim that this run holds, and write entries with it. The write shows that it does.

        Raises:
            LeaseLostError: the lease expired, and another run has claimed the key since.
        """
        claim, mine = held.claim, held.claim.claim_id
        while True:
            if claim.claim_id != mine or mine is None:
                raise LeaseLostError(f"s3://{claim.bucket}/{claim.key}", "its lease expired and the claim has ended")
            changed = change(claim)
            existing = self._write([claim_put(claim, changed), *map(_entry_put, entries(claim))])
            if existing is None:
                held.claim = revised(changed, claim)
                return
            claim = to_claim(claim.bucket, claim.key, existing)


def _back_off(tries: int) -> timedelta:
    """The time until the next load of a file, after so many loads that failed.

    Jitter keeps files that failed together from being loaded together again, so a file that kills its run does not take
    the same files with it each time. Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    longest = min(FIRST_BACK_OFF_SECONDS * 2 ** min(max(tries - 1, 0), LARGEST_EXPONENT), LONGEST_BACK_OFF_SECONDS)
    return timedelta(milliseconds=round(1000 * runtime().uniform(longest / 2, longest)))


def _entry_put(entry: LedgerEntry) -> Put:
    return Put(entry_attributes(entry))
