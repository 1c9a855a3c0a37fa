"""The lease of a run on a key: renewed while its versions are loaded, and the fence before each send of their rows."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from blocks.aws_block import AWS_ERRORS
from blocks.domain.errors import LeaseLostError
from blocks.domain.limits import FENCE_MARGIN, RENEWALS_PER_LEASE
from blocks.domain.models import LedgerEntry, SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import CurrentEmail, email_of
from blocks.file_ledger.holding import HeldClaim
from blocks.runtime import runtime
from flows.recovery.retry_policy import blames_file

LOOKS_PER_LEASE: Final = 6
"""How often a shard looks at the lease while it lasts."""


class Lease:
    """The lease of this run on a key."""

    def __init__(
        self, ledger: FileLedger, held: HeldClaim, entry: LedgerEntry | None, email: CurrentEmail = None
    ) -> None:
        self.held = held
        self.entry = entry
        """Of the version that is being loaded; None once it is settled, and for a reload."""
        self.settled: LedgerEntry | None = None
        """Of the version that this run has settled."""
        self.unanswered = False
        """Whether rows were sent whose arrival is not known."""
        self.key_stays_held = False
        """Whether another version came while this one was loaded, or may have come: the key stays held for it."""
        self.is_reload = entry is None
        """Whether versions are written again that were loaded before."""
        self._ledger, self._email = ledger, email
        self._lost = self._closed = False

    def fence(self) -> None:
        """Return if rows may be sent now.

        Raises:
            LeaseLostError: the load has ended, or the lease may have expired, and another run may own the key.
        """
        if self._closed:
            raise LeaseLostError(self._uri, "its load has ended")
        seconds = self._ledger.claim_seconds
        if self._lost or runtime().monotonic() - self.held.asked_at >= seconds - seconds * FENCE_MARGIN:
            raise LeaseLostError(self._uri, "its lease was not renewed in time")

    def note_unanswered(self) -> None:
        """Rows were sent, and no answer came: they may still arrive."""
        self.unanswered = True

    def close(self) -> None:
        """Let no more rows be sent: the load has ended."""
        self._closed = True

    @property
    def _uri(self) -> str:
        return f"s3://{self.held.claim.bucket}/{self.held.claim.key}"

    def __getstate__(self) -> dict[str, object]:
        """Without the ledger, which has AWS credentials.

        Prefect 3.9 sends the parameters of a task to the processes and Dask workers that its subflow uses.
        """
        return vars(self) | {"_ledger": None, "_email": None}

    @property
    def for_shards(self) -> "ShardClaim":
        """The claim, as it is sent to the processes that write shards."""
        claim = self.held.claim
        return ShardClaim(claim.bucket, claim.key, claim.claim_id or "")

    def renew(self) -> bool:
        """Whether to go on renewing: not once another run has the key."""
        try:
            self._lost = not self._ledger.renew(self.held)
        except AWS_ERRORS as error:
            runtime().log().warning("The lease on %s could not be renewed: %s", self.held.claim.key, error)
        return not self._lost

    def settle(self, entry: LedgerEntry) -> LedgerEntry:
        """The settled entry of the version, as it was written: with the email that is about it now.

        Raises:
            LeaseLostError: another run has claimed the key since.
        """
        settled = entry.model_copy(update={"email_id": email_of(self._email)})
        self._ledger.settle(self.held, settled, unanswered=self.unanswered)
        self.entry, self.settled = None, settled
        return settled

    def end(self) -> None:
        """End the claim, unless a version came meanwhile. If that fails the lease expires, and the next run ends it."""
        try:
            if self.is_reload:
                self.key_stays_held = self._ledger.end_reload(self.held, unanswered=self.unanswered)
            else:
                self.key_stays_held = self._ledger.end_claim(self.held)
        except AWS_ERRORS as error:
            runtime().log().warning("The claim of %s could not be ended: %s", self.held.claim.key, error)

    def end_failed(self, error: BaseException) -> bool:
        """Whether the claim was still this run's. It ends, as the load failed; if that fails too, the lease expires."""
        with suppress(Exception):  # the ledger may be what failed
            if isinstance(error, LeaseLostError) or not self._released(error):
                self._ledger.record_lost_claim(self.held)
                return False
        return True

    def _released(self, error: BaseException) -> bool:
        problem = str(error) or type(error).__name__
        counts, unanswered = blames_file(error), self.unanswered
        claim, entry = self.held.claim, self.entry
        try:
            waiting = self._ledger.release(self.held, entry, problem, counts=counts, unanswered=unanswered)
        except LeaseLostError:
            return False
        if entry and waiting is None:  # the answer to `settle` was lost
            file = SensorFile(bucket=claim.bucket, key=claim.key, version_id=entry.version)
            self.settled = self._ledger.entry(file)
        return True


class ShardLease:
    """The fence of a shard, which another process writes: the run renews the lease, the shard looks at it."""

    def __init__(self, ledger: FileLedger, claim: "ShardClaim") -> None:
        self.unanswered = False
        """Whether rows were sent whose arrival is not known."""
        self._ledger, self._claim = ledger, claim
        self._deadline = float("-inf")

    def fence(self) -> None:
        """Return if rows may be sent now.

        Raises:
            LeaseLostError: the lease may have expired, and another run may own the key.
        """
        if runtime().monotonic() >= self._deadline:
            raise LeaseLostError(f"s3://{self._claim.bucket}/{self._claim.key}", "the lease of its run ends")

    def note_unanswered(self) -> None:
        """Rows were sent, and no answer came: they may still arrive."""
        self.unanswered = True

    def look(self) -> bool:
        """Whether to look again: not once the claim has ended."""
        asked_at, claim = runtime().monotonic(), self._claim
        try:
            left = self._ledger.lease_seconds_left(claim.bucket, claim.key, claim.claim_id)
        except AWS_ERRORS as error:
            runtime().log().warning("The lease on %s could not be looked at: %s", claim.key, error)
            return True
        if left is None:
            self._deadline = float("-inf")
            return False
        self._deadline = asked_at + left - self._ledger.claim_seconds * FENCE_MARGIN
        return True


@dataclass(frozen=True)
class ShardClaim:
    """The claim that a shard belongs to, as it is sent to the process of the shard."""

    bucket: str
    key: str
    claim_id: str


@contextmanager
def shard_lease(ledger: FileLedger, claim: ShardClaim) -> Iterator[ShardLease]:
    """The fence of a shard, kept up to date until the block ends."""
    lease = ShardLease(ledger, claim)
    lease.look()
    with runtime().repeated(lease.look, ledger.claim_seconds / LOOKS_PER_LEASE, f"lease of a shard of {claim.key}"):
        yield lease


@contextmanager
def lease_kept(
    ledger: FileLedger, held: HeldClaim, entry: LedgerEntry | None, email: CurrentEmail = None
) -> Iterator[Lease]:
    """The lease, renewed until the block ends, however long that takes; then the claim is ended.

    If the block fails, the entry waits for another try. A block that lost its lease has what was loaded since written
    again, as rows that it sent may arrive late.
    """
    lease = Lease(ledger, held, entry, email)
    every = ledger.claim_seconds / RENEWALS_PER_LEASE
    try:
        with runtime().repeated(lease.renew, every, f"lease on {held.claim.key}"):
            yield lease
    except BaseException as error:  # also when the run is told to end, for example because its worker stops
        lease.close()  # before the release: what still sends must not outlive it
        if lease.end_failed(error) or not isinstance(error, Exception):
            raise
        # The run that has claimed the key since reports it. A load that stood still fails in many ways.
        raise LeaseLostError(f"s3://{held.claim.bucket}/{held.claim.key}", f"it failed: {error}") from error
    lease.close()
    if not lease.key_stays_held:
        lease.end()
