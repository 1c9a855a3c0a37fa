"""What the ledger's tests claim and settle, how they let time pass, and runs that claim."""

from datetime import UTC, datetime, timedelta
from typing import Any

from blocks.domain.models import FileStatus, LedgerEntry, Reject, StoredFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import Claim
from blocks.file_ledger.claiming import Owned, OwnedElsewhere
from blocks.file_ledger.holding import HeldClaim
from blocks.file_ledger.table import to_item
from blocks.file_ledger.table_clock import TableClock

LANDED_AT = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
FILE = StoredFile(
    bucket="landing", key="incoming/a b+c%20é.csv", version_id="v1", etag="e1", size=8, landed_at=LANDED_AT
)


class MovedClock(TableClock):
    """The table's clock, moved on by as much as a test lets pass."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_by = timedelta(0)

    def earliest(self) -> datetime:
        return super().earliest() + self.moved_by

    def latest(self) -> datetime:
        return super().latest() + self.moved_by


def with_moved_clock(ledger: FileLedger) -> FileLedger:
    ledger._clock = MovedClock()  # noqa: SLF001 - the seam
    return ledger


def pass_time(ledger: FileLedger, seconds: float) -> None:
    """So much time passes on the clock of the ledger's table."""
    clock = ledger._clock  # noqa: SLF001 - the seam
    assert isinstance(clock, MovedClock)
    clock.moved_by += timedelta(seconds=seconds)


def seconds_until(ledger: FileLedger, moment: datetime | None) -> float:
    """From now on the table's clock; it is a second or two too little."""
    assert moment is not None
    return (moment - ledger._clock.earliest()).total_seconds()  # noqa: SLF001 - the seam


def version(name: str, **fields: object) -> StoredFile:
    """Another version of `FILE`, with other bytes."""
    return FILE.model_copy(update={"version_id": name, "etag": f"e{name.removeprefix('v')}", **fields})


V2 = version("v2")


def own(ledger: FileLedger, file: StoredFile = FILE, claim_id: str = "c1", **more: Any) -> Owned:  # noqa: ANN401
    """The claim of a run, which gets the key."""
    owned = ledger.claim(file, claim_id, f"run of {claim_id}", **more)
    assert isinstance(owned, Owned), owned
    return owned


def elsewhere(ledger: FileLedger, file: StoredFile = FILE, claim_id: str = "c2") -> OwnedElsewhere:
    """The claim of a run that does not get the key, as another run holds it."""
    found = ledger.claim(file, claim_id, f"run of {claim_id}")
    assert isinstance(found, OwnedElsewhere), found
    return found


def load(ledger: FileLedger, file: StoredFile = FILE, status: FileStatus = "archived", claim_id: str = "c1") -> Owned:
    """A run that claims the version, settles it and ends its claim."""
    owned = own(ledger, file, claim_id)
    ledger.settle(owned.held, finished(owned.entry, status))
    assert not ledger.end_claim(owned.held)
    return owned


def lose(ledger: FileLedger) -> Owned:
    """What a run believes to hold while another run has taken it over."""
    owned = own(ledger)
    pass_time(ledger, 65)
    own(ledger, version("v2"), "c2")
    return owned


def settle(ledger: FileLedger, owned: Owned, status: FileStatus = "archived") -> None:
    """The version of that claim is settled, with all that is known of it."""
    ledger.settle(owned.held, finished(owned.entry, status))


def release(ledger: FileLedger, owned: Owned) -> None:
    """The load of that claim fails."""
    ledger.release(owned.held, owned.entry, "no")


def archived(ledger: FileLedger, name: str = "v1") -> LedgerEntry:
    """The entry of that version as it is now."""
    return next(entry for entry in ledger.entries_of("landing", FILE.key) if entry.version == name)


def own_archived(ledger: FileLedger, claim_id: str = "c2", name: str = "v1") -> Owned:
    """The claim of a run that loads an archived version again."""
    owned = ledger.claim_archived(archived(ledger, name), claim_id, "run of " + claim_id, email_id="e2")
    assert isinstance(owned, Owned)
    return owned


def claim_now(ledger: FileLedger, file: StoredFile = FILE) -> Claim:
    return ledger.claim_of(file.bucket, file.key)


def statuses(ledger: FileLedger, key: str = FILE.key) -> dict[str, FileStatus]:
    """The statuses of the key's entries, by version."""
    return {entry.version: entry.status for entry in ledger.entries_of("landing", key)}


def put_raw(ledger: FileLedger, **attributes: object) -> None:
    """An item as somebody else writes it."""
    client = ledger._client("dynamodb")  # noqa: SLF001 - somebody else has no block
    client.put_item(TableName=ledger.table_name, Item=to_item(attributes))


def holder(held: HeldClaim) -> tuple[str | None, int, str | None]:
    return held.claim.claim_id, held.claim.epoch, held.claim.holds


def finished(entry: LedgerEntry, status: FileStatus) -> LedgerEntry:
    """All that is known of a file in the end."""
    return entry.model_copy(
        update={
            "status": status,
            "lines": 9,
            "header": 1,
            "rows": 8,
            "accepted": 6,
            "replaced": 1,
            "rejected": 1,
            "reasons": {"value": 1},
            "first_rejects": [Reject(line=3, reason="value", text="0000-0001,1483906366,é\\x00")],
            "archived_to": f"s3://landing/processed/{entry.version}.csv",
            "rejects_at": "s3://landing/rejects/a b+c%20é.csv.rejects.csv",
            "problem": "1 of 8 rows breaks a rule",
            "finished_at": datetime(2026, 11, 22, 20, 25, tzinfo=UTC),
        }
    )
