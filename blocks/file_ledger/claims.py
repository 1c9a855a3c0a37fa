"""Who may load a file: claims, leases, and the conditions that DynamoDB checks for them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from blocks.domain.errors import ClaimedElsewhereError
from blocks.domain.models import SETTLED, FileStatus, HeldClaim, LedgerEntry, SensorFile, StoredFile, utc_text
from blocks.file_ledger.table import LEASED_INDEX, LedgerTable

# Conditions, named after the situation that they stand for.
NEVER_CLAIMED: Final = "attribute_not_exists(#file)"
UNSETTLED: Final = "#status IN (:loading, :loaded)"
LEASE_EXPIRED: Final = f"({UNSETTLED} AND lease_until < :now)"
BY_THIS_RUN: Final = "flow_run_id = :run"
CLAIMED_BY_THIS_RUN: Final = f"({UNSETTLED} AND {BY_THIS_RUN})"
LANDED_SINCE_IT_WAS_SETTLED: Final = f"(attribute_exists(finished_at) AND NOT {UNSETTLED} AND finished_at < :landed)"
LEASED_BY_NO_OTHER_RUN: Final = f"({NEVER_CLAIMED} OR NOT {UNSETTLED} OR lease_until < :now OR {BY_THIS_RUN})"

SETTLED_AS_GONE: Final[frozenset[FileStatus]] = frozenset({"missing", "superseded"})
"""The statuses of versions that were settled because their object was gone."""


class ClaimTable(LedgerTable):
    """The ledger's table with the calls that claim files, and renew and release leases."""

    lease_seconds: float = Field(
        default=900,
        gt=0,
        le=7 * 86_400,
        description="Seconds that a claim lasts unless the run renews it; then another run may claim the file.",
    )
    attempts: int = Field(
        default=5, ge=1, description="Loads of a file that may fail before it moves to failed/ and is not tried again."
    )

    def claim(self, file: StoredFile, flow_run_id: str, *, again: bool = False) -> LedgerEntry:
        """The entry of this version: status `loading` if this run has claimed it, else as another run left it.

        A settled version is claimed again if it has landed since, if its object was gone and is back (a delete marker
        or a newer version was removed), or on request (`again`).

        Raises:
            ClaimedElsewhereError: another run holds a lease on this or another version of the file.
            PermissionMissingError: DynamoDB refused the call.
        """
        now = datetime.now(UTC)
        entry = LedgerEntry(
            bucket=file.bucket,
            key=file.key,
            version=file.version or "",
            etag=file.etag,
            sequencer=file.sequencer,
            landed_at=file.landed_at,
            status="loading",
            claimed_at=now,
            lease_until=self._lease_end(now),
            flow_run_id=flow_run_id,
        )
        self._refuse_if_another_version_is_leased(entry)
        existing = self._put(entry, NEVER_CLAIMED)
        if existing and existing.status in SETTLED:
            unconditional = again or existing.status in SETTLED_AS_GONE
            existing = self._put(entry, LEASED_BY_NO_OTHER_RUN if unconditional else LANDED_SINCE_IT_WAS_SETTLED)
        elif existing:
            counted = {"attempts": existing.attempts + 1, "tries": existing.tries + 1, "problem": existing.problem}
            entry = entry.model_copy(update=counted)
            existing = self._put(entry, f"{LEASE_EXPIRED} OR {CLAIMED_BY_THIS_RUN}")
        if existing is None:
            return entry
        if existing.status not in SETTLED:
            raise _claimed_elsewhere(existing)
        return existing

    def claim_again(self, archived: LedgerEntry, flow_run_id: str) -> LedgerEntry:
        """The entry of an archived file, claimed by this run for a second load from where the file is.

        The results of the first load stay in it until this load replaces them: if this run dies, the file is still
        archived and its rows are still in the table.

        Raises:
            ClaimedElsewhereError: another run holds a lease on this or another version of the file.
            PermissionMissingError: DynamoDB refused the call.
        """
        now = datetime.now(UTC)
        claim = {
            "status": "loading",
            "claimed_at": now,
            "lease_until": self._lease_end(now),
            "flow_run_id": flow_run_id,
            "attempts": 1,
            "tries": 1,
            "finished_at": None,
            "notified_at": None,
            "notified_by": None,
        }
        entry = archived.model_copy(update=claim)
        self._refuse_if_another_version_is_leased(entry)
        existing = self._put(entry, LEASED_BY_NO_OTHER_RUN)
        if existing:
            raise _claimed_elsewhere(existing)
        return entry

    def renew(self, entry: LedgerEntry) -> bool:
        """Whether this run still has its claim; if so, the lease lasts `lease_seconds` from now."""
        until = utc_text(self._lease_end(datetime.now(UTC)))
        return self._update(entry, "SET lease_until = :until", CLAIMED_BY_THIS_RUN, {":until": until})

    def lease_seconds_left(self, claim: HeldClaim) -> float | None:
        """Seconds until the lease ends, negative if it has ended; None if the claim is not held; a consistent read."""
        for entry in self.entries_of(claim.bucket, claim.key):
            if (entry.version, entry.flow_run_id) == (claim.version, claim.claim_id) and entry.status not in SETTLED:
                return (entry.lease_until - datetime.now(UTC)).total_seconds() if entry.lease_until else None
        return None

    def release(self, entry: LedgerEntry, problem: str = "", *, counts: bool = True) -> None:
        """End the lease of the entry's run, which could not load the file: another run may claim it at once.

        Args:
            entry: as that run claimed it.
            problem: why the load failed.
            counts: whether the file is to blame; after `attempts` such loads it moves to `failed/`.
        """
        # Absolute numbers, not increments: the call is idempotent, as botocore repeats it if the answer is lost.
        attempts, tries = (entry.attempts, entry.attempts) if counts else (entry.attempts - 1, entry.tries)
        self._update(
            entry,
            "SET lease_until = claimed_at, problem = :problem, attempts = :attempts, tries = :tries",
            CLAIMED_BY_THIS_RUN,
            {":problem": problem, ":attempts": attempts, ":tries": tries},
        )

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of a claimed file with its results. If it is not settled yet, the lease is renewed too.

        Raises:
            ClaimedElsewhereError: the lease of this run expired, and another run has claimed the file since.
        """
        if entry.status not in SETTLED:
            entry = entry.model_copy(update={"lease_until": self._lease_end(datetime.now(UTC))})
        existing = self._put(entry, f"{NEVER_CLAIMED} OR {BY_THIS_RUN}")
        if existing:
            raise _claimed_elsewhere(existing)

    def supersede(self, older: SensorFile, newer: str | None, flow_run_id: str) -> LedgerEntry | None:
        """The settled entry of a version that a newer one replaced before it was loaded; None if it already has one."""
        now = datetime.now(UTC)
        entry = LedgerEntry(
            bucket=older.bucket,
            key=older.key,
            version=older.version or "",
            etag=older.etag,
            sequencer=older.sequencer,
            status="superseded",
            problem=f"version {newer} of this key replaced it before it was loaded",
            claimed_at=now,
            finished_at=now,
            notified_at=now,  # no email: no load of it was started
            flow_run_id=flow_run_id,
        )
        return None if self._put(entry, NEVER_CLAIMED) else entry

    def close(self, entry: LedgerEntry, status: FileStatus, problem: str) -> None:
        """Settle an entry whose lease has expired and which needs no load any more."""
        closed = {"status": status, "problem": problem, "finished_at": datetime.now(UTC), "lease_until": None}
        self._put(entry.model_copy(update=closed), LEASE_EXPIRED)

    def _refuse_if_another_version_is_leased(self, entry: LedgerEntry) -> None:
        """Raise if a run is loading another version of the file: which of the rows come last would be chance.

        The index may lag behind the table by a second, so the entries that it names are read from the table.
        """
        values = {":file": f"{entry.bucket}/{entry.key}", ":now": utc_text(entry.claimed_at)}
        for item in self._query(LEASED_INDEX, "in_hand = :file AND lease_until > :now", values):
            other = self._get(entry.model_copy(update={"version": item["version"]["S"]}))
            if other is None or other.version == entry.version or other.flow_run_id == entry.flow_run_id:
                continue
            if other.is_leased(entry.claimed_at):
                raise _claimed_elsewhere(other)

    def _lease_end(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.lease_seconds)


def _claimed_elsewhere(entry: LedgerEntry) -> ClaimedElsewhereError:
    return ClaimedElsewhereError(entry.uri, entry.flow_run_id or "?", str(entry.lease_until))
