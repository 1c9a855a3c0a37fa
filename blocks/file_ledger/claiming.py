"""The ledger's table with the calls that claim a key, or find that none of its versions needs a load."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from blocks.domain.models import SETTLED, FileStatus, LedgerEntry, SensorFile, StoredFile
from blocks.file_ledger.claim_rules import Claim
from blocks.file_ledger.claim_table import KeyAsRead
from blocks.file_ledger.holding import HeldClaim, HoldingTable
from blocks.runtime import runtime

SETTLED_AS_GONE: Final[frozenset[FileStatus]] = frozenset({"missing", "superseded"})
"""The statuses of versions that were settled because their object was gone."""

SETTLED_AT_ONCE: Final = 90
"""Replaced versions that one transaction settles, besides the claim and the entry of the version that is claimed."""

CurrentEmail = str | Callable[[], str] | None
"""The id of the email that a run collects for, or what returns it, as it may change during the run; None: no email."""


@dataclass(frozen=True)
class Owned:
    """This run holds the key and loads the version of the entry."""

    held: HeldClaim
    entry: LedgerEntry
    superseded: list[LedgerEntry]
    """Older versions that the claim settled, as this one has replaced them."""


@dataclass(frozen=True)
class OwnedElsewhere:
    """Another run holds the key.

    `claim` has noted the version there: that run is loading it, or loads it when its own load ends. `claim_archived`
    has noted nothing.
    """

    entry: LedgerEntry
    flow_run_id: str


class ClaimingTable(HoldingTable):
    """The ledger's table with the calls of runs that are to load a file."""

    def claim(
        self,
        found: StoredFile,
        claim_id: str,
        flow_run_id: str,
        *,
        announced: str | None = None,
        email_id: CurrentEmail = None,
        again: bool = False,
    ) -> Owned | OwnedElsewhere | LedgerEntry:
        """The key, held by this run to load the version; or who holds it; or the entry of a version that is settled.

        A settled version is loaded again if it has landed again (without versioning, equal bytes are the same version),
        if its object was gone and is back, or on request.

        Args:
            found: the version that is in the bucket.
            claim_id: of this claim; a call that is made again with it finds what the call before has done.
            flow_run_id: of the run that claims.
            announced: the version that was announced; if another one has replaced it, it is settled too.
            email_id: of the email that will be about the version, or a function that says which one that is now.
            again: whether a settled version is to be loaded again.

        Raises:
            PermissionMissingError: DynamoDB refused the call.
        """
        version, settled = found.version or "", list[LedgerEntry]()
        while True:
            read = self._read_key(found.bucket, found.key, version, announced)
            claim, entry, now = read.claim, read.entry(version), self._clock.earliest()
            if entry and entry.status in SETTLED and not (again or _is_back(entry, found)):
                return entry
            if claim.is_held_by_another(claim_id, now):
                if waiting := self._noted(read, found, flow_run_id):
                    return OwnedElsewhere(waiting, claim.flow_run_id or "?")
                continue
            replaced = _replaced(claim, found, announced)
            part = replaced[:SETTLED_AT_ONCE]
            email = email_of(
                email_id
            )  # each time: what was read before may have been taken from a run that stood still
            superseded = [*_superseded(read, part, found, flow_run_id, email)]
            puts = list(map(read.put, superseded))
            if len(replaced) > len(part):
                settled += superseded if self._put_claim(claim, reduce(Claim.settled, part, claim), puts) else []
                continue
            asked_at = runtime().monotonic()
            taken = claim.taken(claim_id, flow_run_id, version, lease=self._lease, now=self._clock.latest())
            started = _started(found, entry, taken, flow_run_id, email)
            if written := self._put_claim(claim, taken, [read.put(started), *puts]):
                return Owned(HeldClaim(written, asked_at, now), started, [*settled, *superseded])

    def claim_archived(
        self, archived: LedgerEntry, claim_id: str, flow_run_id: str, *, email_id: CurrentEmail = None
    ) -> Owned | OwnedElsewhere:
        """The key, held by this run to load an archived version again from where it is; or who holds it.

        The results of the first load stay in the entry until this load replaces them: if this run dies, the file is
        still archived and its rows are still in the table.
        """
        while True:
            read = self._read_key(archived.bucket, archived.key, archived.version)
            claim, known = read.claim, read.entry(archived.version)
            if claim.is_held_by_another(claim_id, self._clock.earliest()):
                return OwnedElsewhere(archived, claim.flow_run_id or "?")
            asked_at = runtime().monotonic()
            now = self._clock.latest()
            taken = claim.taken_from_archive(claim_id, flow_run_id, archived.version, lease=self._lease, now=now)
            fields: dict[str, Any] = {
                "status": "loading",
                "epoch": taken.epoch,
                "claimed_at": runtime().utc_now(),
                "flow_run_id": flow_run_id,
                "email_id": email_of(email_id),
                "attempts": 1,
                "tries": 1,
                "finished_at": None,
                "notified_at": None,
                "notified_by": None,
            }
            started = (known if known and known.is_kept else archived).model_copy(update=fields)
            if written := self._put_claim(claim, taken, [read.put(started)]):
                return Owned(HeldClaim(written, asked_at, now), started, [])

    def claim_reload(
        self, bucket: str, key: str, claim_id: str, flow_run_id: str
    ) -> tuple[HeldClaim, list[LedgerEntry]] | None:
        """The key, held by this run to write versions again, and these in their order; None if no reload is due.

        They are the archived versions that were loaded after rows of an older epoch could still arrive: none if a load
        was taken for dead, and none was archived since.
        """
        while True:
            claim = self.claim_of(bucket, key)
            now = self._clock.earliest()
            due = claim.reload_at is not None and claim.reload_at <= now
            if not due or claim.is_held_by_another(claim_id, now):
                return None
            asked_at = runtime().monotonic()
            taken = claim.taken_to_reload(claim_id, flow_run_id, lease=self._lease, now=self._clock.latest())
            if written := self._put_claim(claim, taken):
                return HeldClaim(written, asked_at, now), self._to_write_again(written)

    def close(
        self, file: SensorFile, closed_as: Callable[[LedgerEntry], LedgerEntry], claim_id: str
    ) -> list[LedgerEntry] | None:
        """The entries of the versions that waited, as they are settled now; None if another run holds the key.

        What was announced stays due: a version may have come since the look at the bucket.

        Args:
            file: the key, whose object is gone, or is a version that is settled.
            closed_as: the settled entry for the entry of a version that waits.
            claim_id: of this run, which may hold the key.
        """
        settled: list[LedgerEntry] = []
        while True:
            read = self._read_key(file.bucket, file.key)
            claim, now = read.claim, self._clock.latest()
            if claim.is_held_by_another(claim_id, self._clock.earliest()):
                return settled or None
            part = claim.unsettled[:SETTLED_AT_ONCE]
            closed = [*_closed(read, part, closed_as)]
            free = claim if claim.claim_id == claim_id else claim.freed(now)
            free = reduce(Claim.settled, part, free)
            for entry in closed:
                free = free.loaded(entry.version) if entry.status == "archived" else free
            if free == claim or self._put_claim(claim, free, map(read.put, closed)):
                settled += closed
                if len(part) == len(claim.unsettled):
                    return settled

    def skip(self, late: SensorFile, closed_as: Callable[[LedgerEntry], LedgerEntry]) -> LedgerEntry | None:
        """The settled entry of a version that was announced, and gone before any run saw it.

        None if the key was never claimed: then nothing says that another version has replaced it.
        """
        version = late.version or ""
        while True:
            read = self._read_key(late.bucket, late.key, version)
            if not read.claim.epoch or not version:
                return None
            if entry := read.entry(version):  # another run has written it at this moment, and reports it
                return entry.model_copy(update={"already_done": True})
            now = runtime().utc_now()
            new = LedgerEntry(
                bucket=late.bucket,
                key=late.key,
                version=version,
                etag=late.etag,
                status="waiting",
                claimed_at=now,
                tries=0,
                attempts=0,
            )
            entry = closed_as(new).model_copy(update={"finished_at": now})
            if self._put_claim(read.claim, read.claim, [read.put(entry)]):  # it shows that no run has claimed the key
                return entry

    def _to_write_again(self, claim: Claim) -> list[LedgerEntry]:
        """The archived versions that rows of late writes may have come over, in the order of their epochs."""
        kept = [entry for entry in self.entries_of(claim.bucket, claim.key) if entry.is_kept]
        since = sorted(
            (entry for entry in kept if entry.epoch > (claim.late_epoch or 0)), key=lambda entry: entry.epoch
        )
        return since if {entry.version for entry in since} - {claim.late_version} else []

    def _noted(self, read: KeyAsRead, found: StoredFile, flow_run_id: str) -> LedgerEntry | None:
        """The entry of the version, which the claim of another run has now; None to look again."""
        claim, version = read.claim, found.version or ""
        entry = read.entry(version)
        if entry and version in claim.unsettled:
            return entry
        waiting = _new_entry(found, flow_run_id, None)
        if entry:  # it has landed again
            waiting = entry.model_copy(update={"status": "waiting", "landed_at": found.landed_at, "finished_at": None})
        return waiting if self._put_claim(claim, claim.noted(version), [read.put(waiting)]) else None


def _replaced(claim: Claim, found: StoredFile, announced: str | None) -> list[str]:
    """The versions that the found one has replaced, in the order of their coming."""
    versions = dict.fromkeys((*claim.unsettled, announced or found.version))
    # A listing of the bucket names no version id, so the ETag of the found version may be what was announced.
    return [version for version in versions if version and version not in (found.version, found.etag)]


def _superseded(
    read: KeyAsRead, versions: Iterable[str], found: StoredFile, flow_run_id: str, email_id: str | None
) -> Iterator[LedgerEntry]:
    """The settled entries of these versions, which the found one has replaced; none of those settled before."""
    for version in versions:
        now, entry = runtime().utc_now(), read.entry(version)
        if entry and entry.status in SETTLED:
            continue
        if entry and entry.archived_to:
            yield _reload_ended(entry).model_copy(update={"finished_at": now, "next_try_at": None})
            continue
        problem = f"version {found.version} of this key replaced it before it was loaded"
        if entry and entry.tries:
            problem = f"version {found.version} of this key replaced it; some of its rows may be in the table"
        entry = entry or LedgerEntry(
            bucket=found.bucket,
            key=found.key,
            version=version,
            status="superseded",
            claimed_at=now,
            tries=0,
            attempts=0,
        )
        fields: dict[str, Any] = {
            "status": "superseded",
            "problem": problem,
            "finished_at": now,
            "next_try_at": None,
            "flow_run_id": flow_run_id,
            "email_id": email_id,
        }
        yield entry.model_copy(update=fields)


def _closed(
    read: KeyAsRead, versions: Iterable[str], closed_as: Callable[[LedgerEntry], LedgerEntry]
) -> Iterator[LedgerEntry]:
    """The settled entries of these versions, whose object is gone; none of those settled before."""
    for entry in filter(None, map(read.entry, versions)):
        if entry.status not in SETTLED:
            settled = _reload_ended(entry) if entry.archived_to else closed_as(entry)
            yield settled.model_copy(update={"finished_at": runtime().utc_now(), "next_try_at": None})


def _new_entry(found: StoredFile, flow_run_id: str, email_id: str | None) -> LedgerEntry:
    """The entry of a version that waits for the run that holds the key."""
    return LedgerEntry(
        bucket=found.bucket,
        key=found.key,
        version=found.version or "",
        etag=found.etag,
        landed_at=found.landed_at,
        status="waiting",
        claimed_at=runtime().utc_now(),
        attempts=0,
        tries=0,
        flow_run_id=flow_run_id,
        email_id=email_id,
    )


def _started(
    found: StoredFile, entry: LedgerEntry | None, claim: Claim, flow_run_id: str, email_id: str | None
) -> LedgerEntry:
    """The entry of the version that the claim loads. A second load of an unsettled version counts the loads before."""
    again = entry is not None and entry.status not in SETTLED
    fields: dict[str, Any] = {
        "status": "loading",
        "epoch": claim.epoch,
        "tries": entry.tries + 1 if entry and again else 1,
        "attempts": entry.attempts + 1 if entry and again else 1,
        "problem": entry.problem if entry and again else None,
    }
    return _new_entry(found, flow_run_id, email_id).model_copy(update=fields)


def _is_back(entry: LedgerEntry, found: StoredFile) -> bool:
    """Whether the settled version is in the bucket anew: it landed at another time, or it had gone before its load."""
    return entry.status in SETTLED_AS_GONE or entry.landed_at != found.landed_at


def _reload_ended(entry: LedgerEntry) -> LedgerEntry:
    why = f": {entry.problem}" if entry.problem else ""
    problem = f"a second load of it did not finish{why}; the file is archived, and its rows are those of the first load"
    return entry.model_copy(update={"status": "archived", "problem": problem})


def email_of(email_id: CurrentEmail) -> str | None:
    """The id of the email now; it changes if another process takes the email of a run that stood still."""
    return email_id() if callable(email_id) else email_id
