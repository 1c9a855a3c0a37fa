"""The claim of a key: who may write the rows of its versions, and when it is looked at next. Pure, no I/O.

Every change is a function from the claim as it was read to the claim as it is to be; `claim_table` writes it if the
item has not changed in between. docs/architecture.md draws how claims, leases and late writes belong together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from blocks.domain.models import utc_text

CLAIM: Final = "#claim"
"""The `version` of a key's claim. No version id and no ETag of S3 has a number sign."""

WAITS_FOR_LOAD: Final = "load"
"""What a claim waits for, as the index by due time names it."""

ALL_VERSIONS: Final = "*"
"""Stands for the version where a run writes several versions again, or where late writes may be of any version."""

LATE_WRITES_END_AFTER: Final = timedelta(minutes=10)
"""How long a request that was sent may still arrive: its signature lasts five minutes, and clocks may differ by five.

Source: "Elements of an AWS API request signature", AWS IAM user guide.
"""


@dataclass(frozen=True)
class Claim:
    """The claim of one key. Times are those of the table's clock."""

    bucket: str
    key: str
    revision: int = 0
    """Number of changes of the item; 0 if it does not exist."""
    epoch: int = 0
    """Number of times that the key was claimed."""
    claim_id: str | None = None
    """Of the run's claim that holds the key; None if no run does."""
    flow_run_id: str | None = None
    holds: str | None = None
    """The version that is being loaded."""
    lease_until: datetime | None = None
    unsettled: tuple[str, ...] = ()
    """The versions that wait or are being loaded, in the order of their coming."""
    next_try_at: datetime | None = None
    """When the key is to be looked at again; the end of the lease while it is held; None if nothing is left to do."""
    announcements: int = 0
    """How often the key was announced while no run held it, since a run has last claimed it or found nothing to do."""
    expected_by: datetime | None = None
    """The latest time to look again after a load, as the key was announced during it, or before a reload."""
    late_epoch: int | None = None
    """The lowest epoch whose rows may still arrive in the table."""
    late_version: str | None = None
    """The version of those rows."""
    late_until: datetime | None = None
    reload_at: datetime | None = None
    """When the versions loaded after `late_epoch` are to be written again."""
    reload_tries: int = 0
    """How often a run has begun to write them again, and has not finished."""

    def is_held(self, now: datetime) -> bool:
        """Whether a run holds the key, and its lease has not expired."""
        return self.claim_id is not None and self.lease_until is not None and self.lease_until > now

    def is_held_by_another(self, claim_id: str, now: datetime) -> bool:
        """Whether a claim other than this one holds the key."""
        return self.claim_id != claim_id and self.is_held(now)

    def taken(self, claim_id: str, flow_run_id: str, version: str, *, lease: timedelta, now: datetime) -> "Claim":
        """Held by this run, which loads the version. A holder whose lease expired may have rows under way.

        The other versions and what was announced are dropped: a load from `incoming/` looks at the bucket again before
        its rows are read and when it moves the file, and finds a version that has come since.
        """
        free = self if self.claim_id == claim_id else self.freed(now)
        return replace(
            free.without_arrived_writes(now),
            epoch=self.epoch + 1,
            claim_id=claim_id,
            flow_run_id=flow_run_id,
            holds=version,
            unsettled=(version,),
            announcements=0,
            expected_by=None,
        ).renewed(now + lease)

    def taken_from_archive(
        self, claim_id: str, flow_run_id: str, version: str, *, lease: timedelta, now: datetime
    ) -> "Claim":
        """As `taken`, for a load from the archive. Its run does not look at `incoming/`, so what waits there stays due.

        Without an announcement the key may be due for its reload only, which this load is.
        """
        taken = self.taken(claim_id, flow_run_id, version, lease=lease, now=now)
        waiting = self.unsettled if version in (ALL_VERSIONS, *self.unsettled) else (version, *self.unsettled)
        for_reload = self.next_try_at == self.reload_at and not self.announcements
        times = [self.expected_by, None if for_reload else self.next_try_at]
        return replace(taken, unsettled=waiting, expected_by=min(filter(None, times), default=None))

    def taken_to_reload(self, claim_id: str, flow_run_id: str, *, lease: timedelta, now: datetime) -> "Claim":
        """Held by this run, which writes versions again."""
        taken = self.taken_from_archive(claim_id, flow_run_id, ALL_VERSIONS, lease=lease, now=now)
        return replace(taken, reload_tries=self.reload_tries + 1)

    def renewed(self, until: datetime) -> "Claim":
        """Held until then."""
        return replace(self, lease_until=until, next_try_at=until)

    def freed(self, now: datetime) -> "Claim":
        """Held by no run. The holder did not end its claim: its rows may still arrive, and the key is due now.

        That is so also if no version waits: the holder may have settled one, and not deleted the original yet.
        """
        if self.claim_id is None:
            return self
        return replace(self.with_late_writes(self.epoch, self.holds, now).released(now), next_try_at=now)

    def with_late_writes(self, epoch: int, version: str | None, now: datetime) -> "Claim":
        """Rows of the version, sent in that epoch, may still arrive from now on."""
        until = now + LATE_WRITES_END_AFTER
        if self.late_epoch is None:
            return replace(self, late_epoch=epoch, late_version=version, late_until=until)
        late_version = version if self.late_version == version else ALL_VERSIONS
        return replace(self, late_epoch=min(epoch, self.late_epoch), late_version=late_version, late_until=until)

    def without_arrived_writes(self, now: datetime) -> "Claim":
        """Without late writes that have all arrived before the next load begins, and came over no loaded version."""
        if self.late_until is None or self.late_until >= now or self.reload_at is not None:
            return self
        return replace(self, late_epoch=None, late_version=None, late_until=None)

    def overtaken(self, epoch: int, version: str | None, now: datetime) -> "Claim":
        """A run found that it had lost the key while it was writing: what was loaded since is written again at once."""
        late = replace(self.with_late_writes(epoch, version, now), reload_at=now)
        return late if self.claim_id else replace(late, next_try_at=now)

    def noted(self, version: str) -> "Claim":
        """With a version that came while another one is being loaded; it is loaded next, so no run is expected for it.

        A version that is noted, or is being loaded, changes nothing: the announcement may be of a newer one.
        """
        if version in self.unsettled:
            return self
        return replace(self, unsettled=(*self.unsettled, version), expected_by=None)

    def settled(self, version: str) -> "Claim":
        """Without the version, which needs no load any more."""
        return replace(self, unsettled=tuple(each for each in self.unsettled if each != version))

    def loaded(self, version: str) -> "Claim":
        """With the version's rows in the table. If older rows may come over them, they are written again later.

        It does not matter how late it is now: older rows may have come over those that this load wrote first.
        """
        done = self.settled(version)
        if self.late_until is None or self.late_version == version:
            return done
        return replace(done, reload_at=min(self.reload_at or self.late_until, self.late_until))

    def reloaded(self, began_at: datetime) -> "Claim":
        """With all versions written again; once more later if rows could still arrive after `began_at`."""
        done = replace(self, reload_tries=0)
        if self.late_until is not None and self.late_until > began_at:
            return replace(done, reload_at=self.late_until)
        return replace(done, late_epoch=None, late_version=None, late_until=None, reload_at=None)

    def released(self, now: datetime) -> "Claim":
        """Held by no run, whose rows have all arrived. The key is due now if a version waits.

        If the server lost an announcement that came meanwhile, the key is due when its run should have come, or before.
        """
        return self._free(now if self.unsettled else self.reload_at)

    def handed_over(self, now: datetime) -> "Claim":
        """Held by no run, and due now."""
        return self._free(now)

    def put_off(self, until: datetime, now: datetime) -> "Claim":
        """Held by no run after a load that failed: the version is due at that time, a reload not before it.

        The key is due now if another version waits. If a run was announced while the key was held, the key is due when
        that run should have come, as it may come for another version.
        """
        others = any(version != self.holds for version in self.unsettled)
        reload_at = None if self.reload_at is None else max(self.reload_at, until)
        if others:
            next_try_at = now
        elif self.expected_by:
            next_try_at = min(until, self.expected_by)
        else:
            next_try_at = until
        return replace(self._free(until), next_try_at=next_try_at, reload_at=reload_at)

    def expected(self, at: datetime, now: datetime) -> "Claim":
        """Announced: if its run has not come by that time, the key is looked at again.

        While a run holds the key, it is looked at when the lease or the load ends.
        """
        # Also if the lease has expired: its run may renew it yet.
        noted = self if self.claim_id is None else replace(self, expected_by=at)
        return noted if self.is_held(now) else replace(noted, next_try_at=at, announcements=self.announcements + 1)

    def due(self, now: datetime) -> "Claim":
        """Looked at now, unless it is known when the key is to be looked at."""
        return self if self.next_try_at else replace(self, next_try_at=now)

    def without_due_time(self) -> "Claim":
        """Not looked at any more, but for a reload, or while a version waits or is being loaded."""
        if self.claim_id or self.unsettled:
            return self
        return replace(self, next_try_at=self.reload_at, announcements=0)

    def _free(self, next_try_at: datetime | None) -> "Claim":
        times = [each for each in (next_try_at, self.reload_at, self.expected_by) if each is not None]
        return replace(
            self,
            claim_id=None,
            flow_run_id=None,
            holds=None,
            lease_until=None,
            next_try_at=min(times, default=None),
            announcements=self.announcements + (self.expected_by is not None),
            expected_by=None,
        )


_TIMES: Final = ("lease_until", "next_try_at", "expected_by", "late_until", "reload_at")


def claim_attributes(claim: Claim) -> dict[str, Any]:
    """The claim as an item of the table; it is in the index by due time while something is left to do."""
    fields = {name: value for name, value in vars(claim).items() if value is not None}
    times: dict[str, Any] = {name: utc_text(fields[name]) for name in _TIMES if name in fields}
    due = {"waits_for": WAITS_FOR_LOAD} if claim.next_try_at else {}
    return {
        "file": f"{claim.bucket}/{claim.key}",
        "version": CLAIM,
        **fields,
        **times,
        **due,
        "unsettled": list(claim.unsettled),
    }


def to_claim(bucket: str, key: str, attributes: Mapping[str, Any] | None) -> Claim:
    """The claim that an item holds; of a key that was never claimed where there is none."""
    if not attributes:
        return Claim(bucket, key)
    late_epoch = attributes.get("late_epoch")
    return Claim(
        bucket=bucket,
        key=key,
        revision=int(attributes["revision"]),
        epoch=int(attributes["epoch"]),
        claim_id=attributes.get("claim_id"),
        flow_run_id=attributes.get("flow_run_id"),
        holds=attributes.get("holds"),
        unsettled=tuple(attributes.get("unsettled", ())),
        announcements=int(attributes.get("announcements", 0)),
        reload_tries=int(attributes.get("reload_tries", 0)),
        late_epoch=None if late_epoch is None else int(late_epoch),
        late_version=attributes.get("late_version"),
        **moments(attributes, _TIMES),
    )


def moments(attributes: Mapping[str, Any], names: Iterable[str]) -> dict[str, datetime]:
    """The times that an item holds, by the name of their attribute.

    Raises:
        ValueError: one of them is no time with an offset.
    """
    times = {name: datetime.fromisoformat(attributes[name]) for name in names if name in attributes}
    if naive := [name for name, time in times.items() if time.tzinfo is None]:
        raise ValueError(f"a time without an offset: {naive}")
    return times
