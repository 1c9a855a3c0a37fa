"""The ledger: who may load a file, what became of each version, what is due, and which emails were sent."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import ClassVar, Final

from blocks.domain.models import LedgerEntry, SensorFile, utc_text
from blocks.file_ledger.due import DueTable
from blocks.file_ledger.emails import version_of
from blocks.file_ledger.table import MONTH_INDEX, valid_entries
from blocks.file_ledger.upgrade import UpgradeTable
from blocks.runtime import runtime

FIRST_MONTH: Final = "2026-01"
"""No entry is older than this project, so `newest` stops here, however many months are empty."""


class FileLedger(UpgradeTable, DueTable):
    """The DynamoDB table of files: `file` (S, hash, `bucket/key`), `version` (S, range, version id or ETag).

    Example:
        What became of a file?
        ```python
        from blocks.file_ledger import FileLedger

        file_ledger = FileLedger.load("BLOCK_NAME")
        print(file_ledger.entries_of("my-bucket", "incoming/sensors.csv"))
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor file ledger"
    _block_type_slug: ClassVar[str] = "sensor-file-ledger"
    _description: ClassVar[str] = "The DynamoDB table that records which version of which file was loaded."

    def entry(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of this version; of the version that was claimed last if no version is given."""
        return _newest(
            entry
            for entry in self.entries_of(file.bucket, file.key)
            if file.version in (None, entry.version, entry.etag)
        )

    def archived(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of this version if it was loaded and archived; the newest such entry if no version is given.

        An entry whose second load did not finish counts: the file is still archived.
        """
        return _newest(
            entry
            for entry in self.entries_of(file.bucket, file.key)
            if entry.is_kept and file.version in (None, entry.version, entry.etag)
        )

    def newest(self, limit: int, since: datetime | None = None) -> Iterator[LedgerEntry]:
        """Up to `limit` entries, the last claimed first, none claimed before `since`; pages are read on demand."""
        start = utc_text(since) if since else FIRST_MONTH
        month = runtime().utc_now()
        while limit > 0 and f"{month:%Y-%m}" >= max(start[:7], FIRST_MONTH):
            for entry in islice(self._of_month(f"{month:%Y-%m}", start, limit), limit):
                limit -= 1
                yield entry
            month = month.replace(day=1) - timedelta(days=1)

    def with_emails(self, entries: list[LedgerEntry]) -> list[LedgerEntry]:
        """The entries, with the time and the run of the email about each that was sent."""
        emails = self.emails({entry.email_id for entry in entries if entry.email_id})

        def with_email(entry: LedgerEntry) -> LedgerEntry:
            email = emails.get(entry.email_id or "")
            if email is None or email.sent_at is None or version_of(entry) not in email.files:
                return entry
            return entry.model_copy(update={"notified_at": email.sent_at, "notified_by": email.flow_run_id})

        return list(map(with_email, entries))

    def archived_since(self, moment: datetime, *, other_than: LedgerEntry) -> bool:
        """Whether another file, claimed after that moment, was archived: loading works in general."""
        recent = self.newest(_RECENT_ENTRIES, since=moment)
        return any(entry.status == "archived" and entry.uri != other_than.uri for entry in recent)

    def _of_month(self, month: str, start: str, page_size: int) -> Iterator[LedgerEntry]:
        items = self._query(
            MONTH_INDEX,
            "#month = :month AND claimed_at >= :start",
            {":month": month, ":start": start},
            ExpressionAttributeNames={"#month": "month"},
            ScanIndexForward=False,
            Limit=page_size,
        )
        return valid_entries(items)


_RECENT_ENTRIES: Final = 200
"""Entries among which `archived_since` looks for a file that was archived."""


def _newest(entries: Iterator[LedgerEntry]) -> LedgerEntry | None:
    return max(entries, key=lambda entry: (entry.epoch, entry.claimed_at), default=None)
