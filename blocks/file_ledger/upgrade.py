"""A ledger of version 0.1: what it left without an email becomes due; files that wait are found in the bucket."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from blocks.domain.models import SETTLED, LedgerEntry
from blocks.file_ledger.emails import OutboxEmail, Version
from blocks.file_ledger.outbox import Outbox
from blocks.file_ledger.table import MONTH_INDEX, Key, Put, valid_entries
from blocks.runtime import runtime

_MARKER: Final = Key("#ledger", "#ledger")
_MONTHS: Final = 3
"""Months that are looked through: version 0.1 emailed about older files long ago, or never will."""

_FILES_PER_EMAIL: Final = 250
"""With the longest keys they fit into one item. Source: 400 KB, "Quotas in Amazon DynamoDB"."""


class UpgradeTable(Outbox):
    """The ledger's table with the step that takes over what version 0.1 left unfinished."""

    def take_over(self) -> int:
        """The number of settled files without an email that version 0.1 left; emails about them are due now.

        It runs once for each table. Entries that version 0.1 left `loading` need nothing: their objects are still in
        `incoming/`, where a sweep finds them.
        """
        if self._read([_MARKER]):
            return 0
        entries = list(self._unnotified())
        for start in range(0, len(entries), _FILES_PER_EMAIL):
            part = entries[start : start + _FILES_PER_EMAIL]
            email_id = f"0.1-{part[0].claimed_at:%Y%m%d%H%M%S}-{start}"
            files = [(entry.bucket, entry.key, entry.version) for entry in part]
            overdue = self._clock.latest() - timedelta(minutes=1)
            self.change_email(self.email(email_id), partial(_new, files=files, due_at=overdue))
        self._write([Put({"file": _MARKER.file, "version": _MARKER.version, "revision": 1})])
        return len(entries)

    def _unnotified(self) -> Iterator[LedgerEntry]:
        month = runtime().utc_now().astimezone(UTC)
        for _ in range(_MONTHS):
            items = self._query(
                MONTH_INDEX,
                "#month = :month",
                {":month": f"{month:%Y-%m}", ":yes": "yes"},
                ExpressionAttributeNames={"#month": "month"},
                FilterExpression="unfinished = :yes",
            )
            yield from (entry for entry in valid_entries(items) if entry.status in SETTLED)
            month = datetime(month.year, month.month, 1, tzinfo=UTC) - timedelta(days=1)


def _new(email: OutboxEmail, files: list[Version], due_at: datetime) -> OutboxEmail:
    """The email waiting, unless another run has made it meanwhile, or this one before it died."""
    return email if email.revision else email.collected(files, due_at)
