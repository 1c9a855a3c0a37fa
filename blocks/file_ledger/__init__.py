"""The ledger: who may load a file, what became of each version, what is due, and which emails were sent."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import ClassVar, Final

from blocks.domain.models import LedgerEntry, SensorFile, utc_text
from blocks.file_ledger.due import DueTable
from blocks.file_ledger.emails import version_of
from blocks.file_ledger.table import KEYS_PER_READ, MONTH_INDEX, valid_entries
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

    def newest(self, limit: int, since: datetime | None = None, fields: Sequence[str] = ()) -> Iterator[LedgerEntry]:
        """Up to `limit` entries, the last claimed first, none claimed before `since`; pages are read on demand.

        With `fields`, the others are not read, and have their defaults.
        """
        start = utc_text(since) if since else FIRST_MONTH
        month = runtime().utc_now()
        while limit > 0 and f"{month:%Y-%m}" >= max(start[:7], FIRST_MONTH):
            for entry in islice(self._of_month(f"{month:%Y-%m}", start, limit, fields), limit):
                limit -= 1
                yield entry
            month = month.replace(day=1) - timedelta(days=1)

    def with_emails(self, entries: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
        """The entries, with the time and the run of the email about each that was sent; read on demand, too."""
        rest = iter(entries)
        while group := list(islice(rest, KEYS_PER_READ)):
            emails = self.emails({entry.email_id for entry in group if entry.email_id})
            for entry in group:
                email = emails.get(entry.email_id or "")
                if email and email.sent_at and version_of(entry) in email.files:
                    yield entry.model_copy(update={"notified_at": email.sent_at, "notified_by": email.flow_run_id})
                else:
                    yield entry

    def archived_since(self, moment: datetime, *, other_than: LedgerEntry) -> bool:
        """Whether another file, claimed after that moment, was archived: loading works in general."""
        recent = self.newest(_RECENT_ENTRIES, since=moment)
        return any(entry.status == "archived" and entry.uri != other_than.uri for entry in recent)

    def _of_month(self, month: str, start: str, page_size: int, fields: Sequence[str]) -> Iterator[LedgerEntry]:
        # Behind a `#`, as some fields have names that are reserved in DynamoDB's expressions.
        asked = {"ProjectionExpression": ", ".join(f"#{name}" for name in fields)} if fields else {}
        items = self._query(
            MONTH_INDEX,
            "#month = :month AND claimed_at >= :start",
            {":month": month, ":start": start},
            ExpressionAttributeNames={f"#{name}": name for name in {"month", *fields}},
            ScanIndexForward=False,
            Limit=page_size,
            **asked,
        )
        return valid_entries(items)


_RECENT_ENTRIES: Final = 200
"""Entries among which `archived_since` looks for a file that was archived."""


def _newest(entries: Iterator[LedgerEntry]) -> LedgerEntry | None:
    return max(entries, key=lambda entry: (entry.epoch, entry.claimed_at), default=None)
