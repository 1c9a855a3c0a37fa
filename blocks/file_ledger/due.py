"""What is due: keys to be looked at again, and emails, in the order of their times."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from blocks.domain.models import LedgerEntry, utc_text
from blocks.file_ledger.claims import CLAIM, WAITS_FOR_LOAD, Claim, to_claim
from blocks.file_ledger.emails import EMAIL, WAITS_FOR_EMAIL, OutboxEmail, to_email
from blocks.file_ledger.outbox import Outbox
from blocks.file_ledger.table import DUE_INDEX, KEYS_PER_READ, Key, to_entry
from blocks.runtime import runtime


@dataclass(frozen=True)
class DueFile:
    """A key that is to be looked at again: its lease or its back-off has ended, or a reload is due."""

    claim: Claim
    entry: LedgerEntry | None
    """Of the version that waits; None for a reload, or if the key was announced and never claimed."""


class DueTable(Outbox):
    """The ledger's table with the queries for what is due."""

    def due_files(self, limit: int | None = None) -> Iterator[DueFile]:
        """The keys that are due, the longest due first, up to `limit`; read page by page, so memory is bounded."""
        for keys in self._due(WAITS_FOR_LOAD, limit):
            claims = []
            for key, attributes in self._read(Key(each, CLAIM) for each in keys).items():
                with _odd_items_logged(key):
                    claims.append(to_claim(attributes["bucket"], attributes["key"], attributes))
            now = self._clock.earliest()
            due = [claim for claim in claims if claim.next_try_at and claim.next_try_at <= now]
            due.sort(key=lambda claim: utc_text(claim.next_try_at or now))
            newest = {
                claim: Key(f"{claim.bucket}/{claim.key}", claim.unsettled[-1]) for claim in due if claim.unsettled
            }
            items = self._read(newest.values())
            for claim in due:
                entry = None
                with _odd_items_logged(newest.get(claim)):
                    if (item := items.get(newest[claim]) if claim in newest else None) is not None:
                        entry = to_entry(item)
                yield DueFile(claim, entry)

    def due_emails(self, limit: int | None = None) -> Iterator[OutboxEmail]:
        """The emails that are due and not sent, the longest due first, up to `limit`."""
        for keys in self._due(WAITS_FOR_EMAIL, limit):
            for key, attributes in self._read(Key(each, EMAIL) for each in keys).items():
                with _odd_items_logged(key):
                    email = to_email(attributes["email_id"], attributes)
                    if email.next_try_at and email.next_try_at <= self._clock.earliest():
                        yield email

    def waiting_keys(self, limit: int) -> int:
        """The number of keys that wait for a load or are being loaded, counted up to `limit`."""
        return len(list(islice(self._query_due(WAITS_FOR_LOAD, "9999"), limit)))

    def _due(self, kind: str, limit: int | None) -> Iterator[list[str]]:
        """The `file` of the due items, in groups that one read takes."""
        self._set_clock()
        items = islice(self._query_due(kind, utc_text(self._clock.earliest())), limit)
        while group := [item["file"]["S"] for item in islice(items, KEYS_PER_READ)]:
            yield group

    def _query_due(self, kind: str, until: str) -> Iterator[Any]:
        values = {":kind": kind, ":until": until}
        condition = "waits_for = :kind AND next_try_at <= :until"
        return self._query(DUE_INDEX, condition, values, Limit=KEYS_PER_READ)  # pages as small as they are needed


class _odd_items_logged:  # noqa: N801 - a context manager, used like a function
    """Log and pass over an item that somebody else has written: it must not end what deals with the others."""

    def __init__(self, key: Key | None) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, KeyError | ValueError | TypeError | ValidationError):
            return False
        runtime().log().warning("the ledger's item %s is not valid and is left out: %s", self._key, error)
        return True
