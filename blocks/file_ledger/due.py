"""What is due: keys to be looked at again, and emails, in the order of their times."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Final, TypeVar

from blocks.domain.models import LedgerEntry, utc_text
from blocks.file_ledger.claim_rules import CLAIM, WAITS_FOR_LOAD, Claim, to_claim
from blocks.file_ledger.emails import EMAIL, OVERDUE_AFTER, WAITS_FOR_EMAIL, OutboxEmail, to_email
from blocks.file_ledger.outbox import FIRST_PAUSE, Outbox
from blocks.file_ledger.table import DUE_INDEX, KEYS_PER_READ, Key, to_entry
from blocks.runtime import runtime

_BACKLOG_READS: Final = 10
"""Lots of emails of the backlog that are looked through for those that no run has claimed."""

_Made = TypeVar("_Made")
_Record = TypeVar("_Record", Claim, OutboxEmail)


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
        return islice(self._due_files(limit), limit)

    def due_emails(self, limit: int | None = None) -> Iterator[OutboxEmail]:
        """The emails that are due and not sent, the longest due first, up to `limit`."""
        return islice(self._due_emails(limit), limit)

    def email_backlog(self, limit: int) -> Iterator[OutboxEmail]:
        """The overdue emails that no run has ever claimed, in the order of the index, up to `limit`.

        One that was claimed is not among them: its run sends it, or it waits for its back-off. Only the first of all
        overdue emails are looked through, as there may be thousands that SES has refused.
        """
        return islice(self._email_backlog(limit), limit)

    def waiting_keys(self, limit: int) -> int:
        """The number of keys that wait for a load or are being loaded, counted up to `limit`."""
        return len(list(islice(self._query_due(WAITS_FOR_LOAD, "9999", limit), limit)))

    def _due_files(self, page_size: int | None) -> Iterator[DueFile]:
        for items in self._due_items(WAITS_FOR_LOAD, CLAIM, page_size):
            claims = [*_valid(items, lambda each: to_claim(each["bucket"], each["key"], each))]
            due = self._by_due_time(claims)
            newest = {
                claim: Key(f"{claim.bucket}/{claim.key}", claim.unsettled[-1]) for claim in due if claim.unsettled
            }
            entries = self._read(newest.values())
            for claim in due:
                item = entries.get(newest[claim]) if claim in newest else None
                yield DueFile(claim, next(_valid([item] if item else [], to_entry), None))

    def _due_emails(self, page_size: int | None) -> Iterator[OutboxEmail]:
        for items in self._due_items(WAITS_FOR_EMAIL, EMAIL, page_size):
            yield from self._by_due_time([*_emails(items)])

    def _email_backlog(self, page_size: int) -> Iterator[OutboxEmail]:
        # Relay and sweep put an overdue email off for `FIRST_PAUSE` if its run only waits.
        named = self._due_items(WAITS_FOR_EMAIL, EMAIL, page_size, within=2 * FIRST_PAUSE)
        for items in islice(named, _BACKLOG_READS):
            now = self._clock.earliest()
            for email in _emails(items):
                if email.is_untried and email.due_at and email.due_at + OVERDUE_AFTER <= now:
                    yield email

    def _due_items(
        self, kind: str, version: str, page_size: int | None, within: timedelta = timedelta(0)
    ) -> Iterator[list[dict[str, Any]]]:
        """The items that the index names as due within that time, in groups that one read takes.

        The index may be behind the table.
        """
        self._set_clock()
        named = self._query_due(kind, utc_text(self._clock.earliest() + within), page_size)
        while group := [item["file"]["S"] for item in islice(named, min(page_size or KEYS_PER_READ, KEYS_PER_READ))]:
            yield list(self._read(Key(each, version) for each in group).values())

    def _by_due_time(self, records: Sequence[_Record]) -> list[_Record]:
        """The records that are due by the table itself, the longest due first."""
        now = self._clock.earliest()
        due = [(record.next_try_at, number) for number, record in enumerate(records) if record.next_try_at]
        return [records[number] for next_try_at, number in sorted(due) if next_try_at <= now]

    def _query_due(self, kind: str, until: str, page_size: int | None) -> Iterator[Any]:
        values = {":kind": kind, ":until": until}
        limit = page_size or KEYS_PER_READ  # who needs more than the first page asks for the next
        return self._query(DUE_INDEX, "waits_for = :kind AND next_try_at <= :until", values, Limit=limit)


def _emails(items: Iterable[dict[str, Any]]) -> Iterator[OutboxEmail]:
    return _valid(items, lambda each: to_email(each["email_id"], each))


def _valid(items: Iterable[dict[str, Any]], made_of: Callable[[dict[str, Any]], _Made]) -> Iterator[_Made]:
    """What the items stand for. One that another program has written is logged and left out: the others are dealt with.

    It stays due, so it is read again each time.
    """
    for item in items:
        try:
            made = made_of(item)
        except (KeyError, ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
            name = f"{item.get('file')} {item.get('version')}"
            runtime().log().warning("the ledger's item %s is not valid and is left out: %r", name, error)
        else:
            yield made
