"""What the ledger's tests claim and record."""

from datetime import UTC, datetime

from blocks.domain.models import FileStatus, LedgerEntry, Reject, StoredFile
from blocks.file_ledger import FileLedger

LANDED_AT = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
FILE = StoredFile(
    bucket="landing", key="incoming/a b+c%20é.csv", version_id="v1", etag="e1", size=8, landed_at=LANDED_AT
)
RUN, ANOTHER_RUN = "run-1", "run-2"


def expired(file_ledger: FileLedger) -> FileLedger:
    """The same ledger, whose leases are over as soon as they are given."""
    return file_ledger.model_copy(update={"lease_seconds": -1})


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
            "archived_to": "s3://landing/processed/a b+c%20é.csv",
            "rejects_at": "s3://landing/rejects/a b+c%20é.csv.rejects.csv",
            "problem": "1 of 8 rows breaks a rule",
            "finished_at": datetime(2026, 11, 22, 20, 25, tzinfo=UTC),
            "lease_until": None,
        }
    )
