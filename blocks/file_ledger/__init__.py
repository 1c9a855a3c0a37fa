"""The ledger: which version of which file was loaded, when, by which run, and what became of its lines."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import ClassVar, Final

from blocks.domain.models import SETTLED, FileReport, LedgerEntry, SensorFile, utc_text
from blocks.domain.s3_keys import comes_before
from blocks.file_ledger.claims import BY_THIS_RUN, UNSETTLED, ClaimTable
from blocks.file_ledger.table import MONTH_INDEX, UNFINISHED_INDEX, valid_entries

SETTLED_BY_THIS_RUN: Final = f"(attribute_exists(#file) AND NOT {UNSETTLED} AND {BY_THIS_RUN})"

FIRST_MONTH: Final = "2026-01"
"""No entry is older than this project, so `newest` stops here, however many months are empty."""


class FileLedger(ClaimTable):
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

    def settled(self, file: SensorFile) -> LedgerEntry | None:
        """The settled entry of this version, or of an equal ETag; the newest settled one if no version is given.

        Two versions with the same bytes are one file: if the second arrives while the first is loaded, it is moved
        away together with the first.
        """
        return _newest(
            entry
            for entry in self.entries_of(file.bucket, file.key)
            if entry.status in SETTLED
            and (file.version in (None, entry.version, entry.etag) or (file.etag and file.etag == entry.etag))
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

    def newer_than(self, file: SensorFile) -> LedgerEntry | None:
        """The entry of a version of the same key that is newer by S3's sequencer."""
        for entry in self.entries_of(file.bucket, file.key):
            if file.sequencer and entry.sequencer and comes_before(file.sequencer, entry.sequencer):
                return entry
        return None

    def unfinished(self) -> list[LedgerEntry]:
        """The entries that still need a load or an email, the oldest first.

        The index that answers may lag behind the table by a second, so finished entries can be among them.
        """
        return list(valid_entries(self._query(UNFINISHED_INDEX, "unfinished = :yes", {":yes": "yes"})))

    def newest(self, limit: int, since: datetime | None = None) -> Iterator[LedgerEntry]:
        """Up to `limit` entries, the last claimed first, none claimed before `since`; pages are read on demand."""
        start = utc_text(since) if since else FIRST_MONTH
        month = datetime.now(UTC)
        while limit > 0 and f"{month:%Y-%m}" >= max(start[:7], FIRST_MONTH):
            for entry in islice(self._of_month(f"{month:%Y-%m}", start, limit), limit):
                limit -= 1
                yield entry
            month = month.replace(day=1) - timedelta(days=1)

    def notifying_run(self, report: FileReport) -> str | None:
        """The id of the flow run that sent the email about this report; None if none has."""
        entry = self._get(report) if report.version else None
        if entry is None or entry.notified_at is None or entry.flow_run_id != report.flow_run_id:
            return None
        return entry.notified_by or ""

    def mark_notified(self, report: FileReport, by: str) -> None:
        """Record in the entry of this report that flow run `by` has sent the email about it.

        If another run has loaded the file again since, its entry is left as it is: that load has an email of its own.
        """
        change = "SET notified_at = :now_at, notified_by = :by REMOVE unfinished"
        values = {":now_at": utc_text(datetime.now(UTC)), ":by": by}
        self._update(report, change, SETTLED_BY_THIS_RUN, values)

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


def _newest(entries: Iterator[LedgerEntry]) -> LedgerEntry | None:
    return max(entries, key=lambda entry: entry.claimed_at, default=None)
