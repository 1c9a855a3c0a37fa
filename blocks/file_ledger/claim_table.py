"""The ledger's table with the claims of keys: read, changed, and looked at when they are due."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from pydantic import Field

from blocks.domain.models import LedgerEntry, SensorFile
from blocks.file_ledger.claim_rules import CLAIM, Claim, claim_attributes, to_claim
from blocks.file_ledger.table import Key, LedgerTable, Put, entry_attributes, entry_key, to_entry

LONGEST_WITHOUT_CLAIM: Final = timedelta(hours=1)
"""The longest time before a key is announced again that no run claims, though it is announced."""

WRITES_AT_ONCE: Final = 50
"""Claims that one transaction changes. DynamoDB takes 100. Source: "TransactWriteItems", DynamoDB API reference."""

SAME_PACE: Final = 4
"""Announcements after the first one that keep its interval, as the server may restart; later intervals double."""

LARGEST_EXPONENT: Final = 20
"""Twice as long so many times is longer than any limit."""


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


Change = Callable[[Claim], Claim]


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

    def clear_due(self, as_read: Claim, claim_id: str) -> bool:
        """Clear the due time unless work is left; False, and nothing is changed, if the claim is not as it was read.

        A version that waits, a reload, and a key that another run holds stay due. This ends a claim of this run, or of
        a run that has died.
        """
        if as_read.claim_id == claim_id:
            free = as_read.released(self._clock.latest())
        else:  # the claim of a run that died ends too: else the key would be due again and again
            held = as_read.is_held(self._clock.earliest())
            free = (as_read if held else as_read.freed(self._clock.latest())).without_due_time()
        return free == as_read or self._put_claim(as_read, free) is not None

    def hand_over(self, file: SensorFile, claim_id: str) -> None:
        """End the claim if it is this run's, and have the key looked at now: another run is to go on with it."""
        now = self._clock.latest()
        self.change(
            file.bucket,
            file.key,
            lambda claim: claim.handed_over(now) if claim.claim_id == claim_id else claim,
        )

    def change(self, bucket: str, key: str, change: Change) -> Claim:
        """The claim after the change, which is made again if another writer was faster."""
        claim = self.claim_of(bucket, key)
        while True:
            changed = change(claim)
            if changed == claim:
                return claim
            written = revised(changed, claim)
            existing = self._write([claim_put(claim, changed)])
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

    def _expected(self, claim: Claim, within: timedelta) -> Claim:
        doublings = min(max(claim.announcements - SAME_PACE, 0), LARGEST_EXPONENT)
        pause = min(within * 2**doublings, max(within, LONGEST_WITHOUT_CLAIM))
        return claim.expected(self._clock.latest() + pause, self._clock.earliest())

    def _change_all(self, files: Iterable[SensorFile], change: Change) -> None:
        keys = list(dict.fromkeys((file.bucket, file.key) for file in files))
        for start in range(0, len(keys), WRITES_AT_ONCE):
            part = keys[start : start + WRITES_AT_ONCE]
            found = self._read([_claim_key(*key) for key in part])
            claims = [to_claim(*key, found.get(_claim_key(*key))) for key in part]
            changes = [(claim, change(claim)) for claim in claims]
            puts = [claim_put(old, new) for old, new in changes if old != new]
            if puts and not self._write_together(puts):
                for key in part:
                    self.change(*key, change)

    def _put_claim(self, old: Claim, new: Claim, entries: Iterable[Put] = ()) -> Claim | None:
        """The claim as written, with the entries; None if another writer was faster."""
        return revised(new, old) if self._write([claim_put(old, new), *entries]) is None else None

    def _read_key(self, bucket: str, key: str, *versions: str | None) -> KeyAsRead:
        """The claim, and the entries of these and of all unsettled versions."""
        wanted = [_claim_key(bucket, key), *(entry_key(bucket, key, version) for version in versions if version)]
        found = self._read(wanted)
        claim = to_claim(bucket, key, found.get(_claim_key(bucket, key)))
        others = {entry_key(bucket, key, version) for version in claim.unsettled} - {*wanted}
        found |= self._read(others) if others else {}
        return KeyAsRead(claim, {each.version: item for each, item in found.items() if each.version != CLAIM})


def _claim_key(bucket: str, key: str) -> Key:
    return entry_key(bucket, key, CLAIM)


def revised(new: Claim, old: Claim) -> Claim:
    """The changed claim with its next revision."""
    return replace(new, revision=old.revision + 1)


def claim_put(old: Claim, new: Claim) -> Put:
    """The changed claim to be written, on the condition that its item is as it was read."""
    return Put(claim_attributes(revised(new, old)), old.revision)
