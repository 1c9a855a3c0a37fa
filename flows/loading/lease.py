"""The lease of a run on a file: renewed while the file is worked on, released if that fails; and the writers' fence.

A lease that has expired in the table cannot stop a process that does not know, so each writer stops itself: it checks a
deadline on its own monotonic clock before each request, see `ReadingsTable.write`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic
from typing import Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from prefect import get_run_logger

from blocks.domain.errors import LeaseLostError, SensorIngestError
from blocks.domain.models import HeldClaim, LedgerEntry
from blocks.file_ledger import FileLedger
from flows.recovery.failures import blames_file

RENEWALS_PER_LEASE: Final = 3
"""How often a lease is renewed while it lasts: two renewals may fail before another run can take over."""

READS_PER_LEASE: Final = 12
"""How often a shard reads the claim while a lease lasts: it stops soon after the run has lost the file."""

MARGINS_PER_LEASE: Final = 12
"""The fence closes this share of a lease before its end: a request that has just passed it needs time to arrive."""


class Lease:
    """How long this process may write a file: until the deadline that the last successful renewal has set.

    It has no lock, as Prefect pickles the parameters of a task for the processes that the task starts.
    """

    def __init__(self, claim: HeldClaim, lease_seconds: float) -> None:
        """A lease that is still closed; `renewed` or `lasts` opens it."""
        self.claim, self.unanswered = claim, False
        self._lease_seconds, self._deadline = lease_seconds, float("-inf")
        self._lost_because: str | None = None

    def renewed(self, sent_at: float) -> None:
        """Move the deadline, as a claim or renewal has succeeded.

        Args:
            sent_at: monotonic time before its request was sent, so that the lease ends no later here than in the table.
        """
        self.lasts(self._lease_seconds, sent_at)

    def lasts(self, seconds: float, since: float) -> None:
        """Move the deadline: the lease lasts so many seconds from that monotonic time, or longer if it already did."""
        self._deadline = max(self._deadline, since + seconds - self._lease_seconds / MARGINS_PER_LEASE)

    def lost(self, because: str) -> None:
        """Close the fence for good."""
        self._lost_because = self._lost_because or because

    def fence(self) -> None:
        """Return if this process may send rows now.

        Raises:
            LeaseLostError: the deadline has passed, or the claim is lost.
        """
        if self._lost_because is None and monotonic() < self._deadline:
            return
        raise LeaseLostError(self.claim.uri, self._lost_because or "its lease was not renewed in time")

    def note_unanswered(self) -> None:
        """Keep in `unanswered` that rows sent under this lease may be written later than the load ends."""
        self.unanswered = True


class RenewableClaim(Protocol):
    """A claim that this process holds in the ledger."""

    @property
    def lease_seconds(self) -> float: ...

    def renew(self) -> bool:
        """Whether the claim is still this run's; if so, its lease lasts `lease_seconds` from now."""


class ReadableClaims(Protocol):
    """The ledger, as a shard needs it."""

    @property
    def lease_seconds(self) -> float: ...

    def lease_seconds_left(self, claim: HeldClaim) -> float | None:
        """Seconds until the lease ends, negative if it has ended; None if the claim is not held any more.

        It is a strongly consistent read.
        """


@contextmanager
def lease_kept(entry: LedgerEntry, ledger: FileLedger, claimed_at: float) -> Iterator[Lease]:
    """The lease on the claimed file, renewed until the block ends, however long that takes.

    If the block fails, the lease is released: the next run may claim the file at once.

    Args:
        entry: as this run claimed it.
        ledger: the ledger that has the entry.
        claimed_at: monotonic time before the request of the claim was sent.
    """
    claim = HeldClaim(bucket=entry.bucket, key=entry.key, version=entry.version, claim_id=entry.flow_run_id or "")
    lease = Lease(claim, ledger.lease_seconds)
    lease.renewed(claimed_at)
    with renewing(lease, _ClaimOfEntry(entry, ledger), claimed_at):
        try:
            yield lease
        except BaseException as error:  # also when the run is told to end, for example because its worker stops
            lease.lost("the load has ended")  # before the release: what still sends must not outlive it
            with suppress(Exception):  # the ledger may be what failed; then the lease expires
                ledger.release(entry, str(error) or type(error).__name__, counts=blames_file(error))
            raise


@contextmanager
def renewing(lease: Lease, claim: RenewableClaim, claimed_at: float) -> Iterator[None]:
    """Renew the lease in a thread until the block ends; after that its fence is closed.

    A renewal that the ledger refuses closes the fence at once. One without an answer does so at the deadline, unless a
    later one succeeds before.
    """

    def renew() -> bool:
        sent_at = monotonic()
        held = claim.renew()
        if held:
            lease.renewed(sent_at)
        else:
            lease.lost("its claim is not this run's any more")
        return held

    every = claim.lease_seconds / RENEWALS_PER_LEASE
    with _repeated(renew, lease, every, claimed_at + every - monotonic()):
        yield


@contextmanager
def shard_lease(claim: HeldClaim, ledger: ReadableClaims) -> Iterator[Lease]:
    """The lease of the run, as a shard in another process or on another machine may rely on it until the block ends.

    The clock of the run means nothing there, so the shard reads the claim itself: now, and again and again in a thread.

    Raises:
        LeaseLostError: the run does not hold the file any more.
    """
    lease = Lease(claim, ledger.lease_seconds)

    def read() -> bool:
        asked_at = monotonic()
        seconds = ledger.lease_seconds_left(claim)
        if seconds is None:
            lease.lost("its claim is not that of the shard's run any more")
            return False
        lease.lasts(seconds, asked_at)
        return True

    read()
    lease.fence()
    every = ledger.lease_seconds / READS_PER_LEASE
    with _repeated(read, lease, every, every):
        yield lease


@contextmanager
def _repeated(work: Callable[[], bool], lease: Lease, every: float, first_after: float) -> Iterator[None]:
    """Do the work in a thread, first after so many seconds, then every so many, until it is False or the block ends.

    If AWS fails, it is tried again in its turn; the deadline of the lease comes nearer meanwhile.
    """
    ended, log = Event(), get_run_logger()

    def repeat() -> None:
        pause = first_after
        while not ended.wait(max(0.0, pause)):
            pause = every
            try:
                if not work():
                    return
            except (SensorIngestError, BotoCoreError, ClientError) as error:
                log.warning("Whether the lease on %s lasts longer is not known: %s", lease.claim.uri, error)

    thread = Thread(target=repeat, name=f"lease on {lease.claim.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        lease.lost("the load has ended")
        ended.set()
        thread.join()


class _ClaimOfEntry:
    """The claim that an entry stands for."""

    def __init__(self, entry: LedgerEntry, ledger: FileLedger) -> None:
        self._entry, self._ledger = entry, ledger

    @property
    def lease_seconds(self) -> float:
        return self._ledger.lease_seconds

    def renew(self) -> bool:
        return self._ledger.renew(self._entry)
