"""Files in `incoming/` that no event has announced, or that a run left there although they are settled."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from blocks.domain.models import SensorFile, StoredFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.table import KEYS_PER_READ
from blocks.landing_zone import LandingZone


def find_unannounced(ledger: FileLedger, landing_zone: LandingZone, older_than: timedelta) -> Iterator[SensorFile]:
    """The objects in `incoming/` of which the ledger does not say when they are to be looked at.

    So each is found once: an announced key is looked at again, at a time that doubles, until a run has dealt with it.
    A version that failed for good and has no other place stays where it is, and is not found.

    Args:
        ledger: the claims of the keys.
        landing_zone: the bucket, which is listed page by page: memory is bounded.
        older_than: the time that an object has been there; the events of newer ones may be under way.
    """
    waiting = landing_zone.waiting(older_than)
    while part := list(islice(waiting, KEYS_PER_READ)):
        for found, claim in zip(part, ledger.claims_of(part), strict=True):
            if claim.next_try_at is None and not (claim.revision and _stays(ledger, found)):
                # Without its ETag, which S3 lists: it is not the version of an object in a bucket with versioning.
                yield SensorFile(bucket=found.bucket, key=found.key, size=found.size)


def _stays(ledger: FileLedger, found: StoredFile) -> bool:
    """Whether the object is a version that failed for good and could not be moved."""
    return any(
        entry.stays_in_incoming
        and entry.etag == found.etag
        and entry.landed_at is not None
        # A listing may know fractions of a second, a HEAD does not.
        and entry.landed_at.replace(microsecond=0) == found.landed_at.replace(microsecond=0)
        for entry in ledger.entries_of(found.bucket, found.key)
    )
