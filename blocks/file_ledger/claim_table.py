"""The ledger's table with the calls that claim a key, keep it, settle its versions, and end the claim."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial, reduce
from typing import Any, Final

from pydantic import Field

from blocks.domain.errors import LeaseLostError
from blocks.domain.models import SETTLED, FileStatus, LedgerEntry, SensorFile, StoredFile
from blocks.file_ledger.claims import ALL_VERSIONS, CLAIM, Claim, claim_attributes, to_claim
from blocks.file_ledger.table import Key, LedgerTable, Put, entry_attributes, entry_key, to_entry
from blocks.runtime import runtime

SETTLED_AS_GONE: Final[frozenset[FileStatus]] = frozenset({"missing", "superseded"})
"""The statuses of versions that were settled because their object was gone."""

FIRST_BACK_OFF_SECONDS: Final = 10.0
LONGEST_BACK_OFF_SECONDS: Final = 3600.0

LONGEST_WITHOUT_CLAIM: Final = timedelta(hours=1)
"""The longest time before a key is announced again that no run claims, though it is announced."""

WRITES_AT_ONCE: Final = 50
"""Claims that one transaction changes. DynamoDB takes 100. Source: "TransactWriteItems", DynamoDB API reference."""

SETTLED_AT_ONCE: Final = 90
"""Replaced versions that one transaction settles, besides the claim and the entry of the version that is claimed."""

SAME_PACE: Final = 4
"""Announcements of a file at the same interval, as the server may have restarted; later intervals double."""

_LARGEST_EXPONENT: Final = 20


@dataclass
class HeldClaim:
    """The claim of a key that a run holds, as it was last written."""

    claim: Claim
    asked_at: float
    """Monotonic seconds before the request that last set the lease: it ends `claim_seconds` later, or after that."""
    began_at: datetime
    """The table's time when the key was claimed."""


@dataclass(frozen=True)
class KeyAsRead:
    """The claim of a key and entries of its versions, read one after the other: others may have written in between."""

    claim: Claim
    items: dict[str, dict[str, Any]]
    """The attributes of the entries that exist, by version: at least those of all unsettled versions."""

    def entry(self, version: str) -> LedgerEntry | None:
        """The entry of the version, if it exists."""
        return to_entry(self.items[version]) if version in self.items else None

    def put(self, entry: LedgerEntry) -> Put:
        """The entry to be written, on the condition that its item is as it was read."""
        return Put(entry_attributes(entry), as_read=self.items.get(entry.version, {}))


@dataclass(frozen=True)
class Owned:
    """This run holds the key and loads the version of the entry."""

    held: HeldClaim
    entry: LedgerEntry
    superseded: list[LedgerEntry]
    """Older versions that the claim settled, as this one has replaced them."""


@dataclass(frozen=True)
class OwnedElsewhere:
    """Another run holds the key. The version is noted there: that run loads it when its own load ends."""

    entry: LedgerEntry
    flow_run_id: str


Change = Callable[[Claim], Claim]
EmailId = str | Callable[[], str] | None


class ClaimTable(LedgerTable):
    """The ledger's table with the claims of keys."""

    claim_seconds: float = Field(
        default=60,
        gt=0,
        le=7 * 86_400,
        description="Seconds that a claim lasts unless its run renews it; then another run may claim the file.",
    )
    attempts: int = Field(
        default=5, ge=1, description="Loads of a file that may fail before it moves to failed/ and is not tried again."
    )

    def claim_of(self, bucket: str, key: str) -> Claim:
        """The claim of the key as it is now."""
        return to_claim(bucket, key, self._read([_claim_key(bucket, key)]).get(_claim_key(bucket, key)))

    def claim(
        self,
        found: StoredFile,
        claim_id: str,
        flow_run_id: str,
        *,
        announced: str | None = None,
        email_id: EmailId = None,
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
            email = email_of(email_id)  # each time: what was read before may have been taken from a stalled run
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
        self, archived: LedgerEntry, claim_id: str, flow_run_id: str, *, email_id: EmailId = None
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
            taken = claim.taken(claim_id, flow_run_id, archived.version, lease=self._lease, now=now)
            # Versions that wait keep waiting: this load is about an older one, and the run goes on with them.
            taken = _with_waiting(taken, claim)
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

    def overtaken(self, held: HeldClaim) -> None:
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

    def close(
        self, file: SensorFile, closed_as: Callable[[LedgerEntry], LedgerEntry], claim_id: str
    ) -> list[LedgerEntry] | None:
        """The entries of the versions that waited, as they are settled now; None if another run holds the key.

        Args:
            file: the key, whose object is gone.
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
            free = claim.released(now) if claim.claim_id == claim_id else claim.freed(now)
            free = reduce(Claim.settled, part, free)
            for entry in closed:
                free = free.loaded(entry.version) if entry.status == "archived" else free
            free = free.with_nothing_due()
            if free == claim or self._put_claim(claim, free, map(read.put, closed)):
                settled += closed
                if len(part) == len(claim.unsettled):
                    return settled

    def skip(self, late: SensorFile, closed_as: Callable[[LedgerEntry], LedgerEntry]) -> LedgerEntry | None:
        """The settled entry of a version without one, which is announced after its object has gone.

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

    def claims_of(self, files: Sequence[SensorFile]) -> list[Claim]:
        """The claims of the keys of these files as they are now, in the same order."""
        found = self._read(_claim_key(file.bucket, file.key) for file in files)
        return [to_claim(file.bucket, file.key, found.get(_claim_key(file.bucket, file.key))) for file in files]

    def expect(self, files: Iterable[SensorFile], within: timedelta) -> None:
        """Have the keys looked at again after that time, unless runs have claimed them by then.

        It is called before they are announced. The time doubles with each announcement that leads to no claim, up to an
        hour: nothing is announced over and over.
        """
        self._change_all(files, partial(self._expected, within=within))

    def make_due(self, files: Iterable[SensorFile]) -> None:
        """Have the keys looked at now, but for those of which it is known when they are to be looked at."""
        self._change_all(files, lambda claim: claim.due(self._clock.latest()))

    def nothing_due(self, file: SensorFile, claim_id: str) -> None:
        """End a claim of this run, and have the key looked at no more unless a version waits or a reload is due."""

        def ended(claim: Claim) -> Claim:
            mine = claim.claim_id == claim_id
            return claim.released(self._clock.latest()) if mine else claim.with_nothing_due()

        self.change(file.bucket, file.key, ended)

    def change(self, bucket: str, key: str, change: Change) -> Claim:
        """The claim after the change, which is made again if another writer was faster."""
        claim = self.claim_of(bucket, key)
        while True:
            changed = change(claim)
            if changed == claim:
                return claim
            written = _revised(changed, claim)
            existing = self._write([_put(claim, changed)])
            if existing is None:
                return written
            claim = to_claim(bucket, key, existing)

    def disown(self, bucket: str, key: str, flow_run_id: str) -> bool:
        """Whether the run does not hold the key; then nothing that it has sent to the ledger about the key succeeds.

        A lease of it that has expired ends, and the key is due now.
        """
        while True:
            claim = self.claim_of(bucket, key)
            if claim.claim_id and claim.flow_run_id == flow_run_id:
                if claim.is_held(self._clock.earliest()):
                    return False
                changed = claim.freed(self._clock.latest())
            else:
                changed = claim
            if self._put_claim(claim, changed):  # also if it is the same: its revision grows
                return True

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
            existing = self._write([_put(claim, changed), *map(_entry_put, entries(claim))])
            if existing is None:
                held.claim = _revised(changed, claim)
                return
            claim = to_claim(claim.bucket, claim.key, existing)

    def _expected(self, claim: Claim, within: timedelta) -> Claim:
        doublings = min(max(claim.announcements - SAME_PACE, 0), _LARGEST_EXPONENT)
        pause = min(within * 2**doublings, max(within, LONGEST_WITHOUT_CLAIM))
        return claim.expected(self._clock.latest() + pause, self._clock.earliest())

    def _change_all(self, files: Iterable[SensorFile], change: Change) -> None:
        keys = list(dict.fromkeys((file.bucket, file.key) for file in files))
        for start in range(0, len(keys), WRITES_AT_ONCE):
            part = keys[start : start + WRITES_AT_ONCE]
            found = self._read([_claim_key(*key) for key in part])
            claims = [to_claim(*key, found.get(_claim_key(*key))) for key in part]
            changes = [(claim, change(claim)) for claim in claims]
            puts = [_put(old, new) for old, new in changes if old != new]
            if puts and not self._write_together(puts):
                for key in part:
                    self.change(*key, change)

    def _put_claim(self, old: Claim, new: Claim, entries: Iterable[Put] = ()) -> Claim | None:
        """The claim as written, with the entries; None if another writer was faster."""
        return _revised(new, old) if self._write([_put(old, new), *entries]) is None else None

    def _read_key(self, bucket: str, key: str, *versions: str | None) -> KeyAsRead:
        """The claim, and the entries of these and of all unsettled versions."""
        wanted = [_claim_key(bucket, key), *(entry_key(bucket, key, version) for version in versions if version)]
        found = self._read(wanted)
        claim = to_claim(bucket, key, found.get(_claim_key(bucket, key)))
        others = {entry_key(bucket, key, version) for version in claim.unsettled} - {*wanted}
        found |= self._read(others) if others else {}
        return KeyAsRead(claim, {each.version: item for each, item in found.items() if each.version != CLAIM})

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
            return entry if claim.expected_by is None or self._put_claim(claim, claim.noted(version)) else None
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


def _back_off(tries: int) -> timedelta:
    """The time until the next load of a file, after so many loads that failed.

    Jitter keeps files that failed together from being loaded together again, so a file that kills its run does not take
    the same files with it each time. Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    longest = min(FIRST_BACK_OFF_SECONDS * 2 ** min(max(tries - 1, 0), _LARGEST_EXPONENT), LONGEST_BACK_OFF_SECONDS)
    return timedelta(milliseconds=round(1000 * runtime().uniform(longest / 2, longest)))


def _reload_ended(entry: LedgerEntry) -> LedgerEntry:
    why = f": {entry.problem}" if entry.problem else ""
    problem = f"a second load of it did not finish{why}; the file is archived, and its rows are those of the first load"
    return entry.model_copy(update={"status": "archived", "problem": problem})


def _with_waiting(taken: Claim, before: Claim) -> Claim:
    for version in before.unsettled:
        taken = taken.noted(version)
    return taken


def email_of(email_id: EmailId) -> str | None:
    """The id of the email now; it changes if another process takes the email of a run that was stalled."""
    return email_id() if callable(email_id) else email_id


def _claim_key(bucket: str, key: str) -> Key:
    return entry_key(bucket, key, CLAIM)


def _revised(new: Claim, old: Claim) -> Claim:
    return replace(new, revision=old.revision + 1)


def _put(old: Claim, new: Claim) -> Put:
    return Put(claim_attributes(_revised(new, old)), old.revision)


def _entry_put(entry: LedgerEntry) -> Put:
    return Put(entry_attributes(entry))
