"""The ledger's table with the emails about files: collected, claimed before SES is called, and sent."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.models import SETTLED, FileReport, LedgerEntry, SensorFile
from blocks.domain.s3_keys import decoded_key
from blocks.file_ledger.claiming import ClaimingTable
from blocks.file_ledger.emails import EMAIL, OutboxEmail, email_attributes, to_email, version_of
from blocks.file_ledger.table import Key, Put, entry_key, to_entry
from blocks.runtime import runtime

EMAIL_LEASE: Final = timedelta(seconds=60)
"""How long a run has an email unless it says that it goes on."""

FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=1)

Change = Callable[[OutboxEmail], OutboxEmail]


@dataclass
class ClaimedEmail:
    """An email that a run collects for or sends, as it was last written."""

    email: OutboxEmail
    claim_id: str
    asked_at: float
    """Monotonic seconds before the request that last set the lease."""


class Outbox(ClaimingTable):
    """The ledger's table with the outbox: one item per email."""

    def email(self, email_id: str) -> OutboxEmail:
        """The email as it is now."""
        return to_email(email_id, self._read([_email_key(email_id)]).get(_email_key(email_id)))

    def emails(self, email_ids: Iterable[str]) -> dict[str, OutboxEmail]:
        """The emails that exist, by id."""
        items = self._read(map(_email_key, email_ids))
        return {attributes["email_id"]: to_email(attributes["email_id"], attributes) for attributes in items.values()}

    def collect(
        self, email_id: str, files: Iterable[SensorFile], wait_seconds: float, flow_run_id: str = ""
    ) -> ClaimedEmail:
        """A new email, for which this run collects what becomes of these files.

        If the run dies, the email is due when its lease ends, and is made from the entries that name it.
        """

        def collecting(email: OutboxEmail) -> OutboxEmail:
            if email.state != "collecting":
                return email
            versions = tuple((*key, "") for key in _as_known((file.bucket, file.key) for file in files))
            new = replace(email, files=versions, wait_seconds=wait_seconds, flow_run_id=flow_run_id or None)
            return new.leased(email_id, self._clock.latest() + EMAIL_LEASE)

        files = list(files)
        self._set_clock()
        asked_at = runtime().monotonic()
        return ClaimedEmail(self.change_email(OutboxEmail(email_id), collecting), email_id, asked_at)

    def keep_email(self, claimed: ClaimedEmail) -> bool:
        """Whether the run still has the email; if so, its lease lasts a minute from now."""

        def kept(email: OutboxEmail) -> OutboxEmail:
            mine = email.claim_id == claimed.claim_id  # of a sent email no run has the claim
            return email.leased(claimed.claim_id, self._clock.latest() + EMAIL_LEASE) if mine else email

        asked_at = runtime().monotonic()
        claimed.email = self.change_email(claimed.email, kept)
        if claimed.email.claim_id != claimed.claim_id:
            return False
        claimed.asked_at = asked_at
        return True

    def finish_collecting(self, email_id: str, reports: Sequence[FileReport], due_in: timedelta) -> str | None:
        """The id of the email about these reports, which waits now; None if there is nothing to send.

        The run that collects may have been taken for dead, and an email made about the files settled by then. Reports
        that it is not about get an email of their own, whose id ends in `-more`.
        """
        known = self.email(email_id)
        while known.state != "collecting":
            covered = set(known.files)
            reports = [report for report in reports if version_of(report) not in covered]
            if not reports:
                return None
            email_id += "-more"
            known = self.email(email_id)
        files = [version_of(report) for report in reports]
        due_at = self._clock.latest() + due_in
        changed = self.change_email(
            known, lambda email: email.collected(files, due_at) if email.state == "collecting" else email
        )
        if changed.files != tuple(files):
            return self.finish_collecting(email_id, reports, due_in)
        return email_id if files else None

    def make_email(self, email: OutboxEmail, reports: Sequence[FileReport]) -> bool:
        """Whether the email of an ingest run that died is about these reports now. It waits, and has no run yet.

        Its wait begins when the ingest run last gave a sign of life; when it is over, the email is overdue and gets a
        run. False if the email has changed since it was read: the ingest run lives, and may have settled more.
        """
        alive_at = (email.lease_until or self._clock.latest()) - EMAIL_LEASE
        due_at = alive_at + timedelta(seconds=email.wait_seconds)
        made = email.collected([version_of(report) for report in reports], due_at, overdue_after=timedelta(0))
        return self._changed_as_read(email, made) is not None

    def assign_run(self, email_id: str, flow_run_id: str) -> None:
        """Note which run is to send the email; of one that is sent, the run that has sent it stays."""

        def assigned(email: OutboxEmail) -> OutboxEmail:
            return email if email.state == "sent" else replace(email, flow_run_id=flow_run_id)

        self.change_email(self.email(email_id), assigned)

    def claim_email(
        self, email_id: str, claim_id: str, reports: Sequence[FileReport], groups: Sequence[Sequence[str]]
    ) -> ClaimedEmail | None:
        """The email, claimed by this run to send it to these groups of recipients; None if it was sent before.

        Recipients of an earlier try that SES has taken a message for get no other one.

        Raises:
            EmailClaimedElsewhereError: another run is sending it.
        """

        def claimed(email: OutboxEmail) -> OutboxEmail:
            if email.state == "sent":
                return email
            if email.is_claimed_by_another(claim_id, self._clock.earliest()):
                raise EmailClaimedElsewhereError(email_id, str(email.lease_until))
            now = self._clock.latest()
            waiting = email.collected(list(map(version_of, reports)), now) if email.state == "collecting" else email
            if waiting.state == "sent":  # it is about nothing
                return waiting
            grouped = waiting.with_groups(groups)
            if grouped.has_all_messages:  # a person has removed the others
                return grouped.sent(now, grouped.flow_run_id)
            return grouped.leased(claim_id, now + EMAIL_LEASE)

        before = self.email(email_id)
        asked_at = runtime().monotonic()
        email = self.change_email(before, claimed)
        return None if email.state == "sent" else ClaimedEmail(email, claim_id, asked_at)

    def record_message(self, claimed: ClaimedEmail, recipients: Sequence[str], message_id: str, by: str) -> None:
        """Record that SES has taken the message of run `by` for these recipients; after the last ones it is sent."""

        def recorded(email: OutboxEmail) -> OutboxEmail:
            taken = email.with_message(recipients, message_id)
            return taken.sent(self._clock.latest(), by) if taken.has_all_messages else taken

        claimed.email = self.change_email(claimed.email, recorded)

    def put_off_email(self, claimed: ClaimedEmail) -> None:
        """Have the email looked at again after a pause that doubles, unless another run has claimed it since."""
        pause = min(FIRST_PAUSE * 2 ** min(claimed.email.tries, 10), LONGEST_PAUSE)

        def put_off(current: OutboxEmail) -> OutboxEmail:
            # The email as it was last written may be the other run's: this one has recorded a message in it.
            return current.put_off(self._clock.latest() + pause) if current.claim_id == claimed.claim_id else current

        self.change_email(claimed.email, put_off)

    def take_up_email(self, email: OutboxEmail, *, counts: bool) -> OutboxEmail | None:
        """The due email, put off, as this process takes it up now; None if it has changed since it was read.

        So of several processes that see the same due email one takes it up, and a run that has claimed it keeps it.

        Args:
            email: as it was read.
            counts: whether a run is started for it: then the pause doubles each time, and the lease of the run that
                was to send it, which has expired, ends. Else the pause is always `FIRST_PAUSE`.
        """
        pause = min(FIRST_PAUSE * 2 ** min(email.tries, 10), LONGEST_PAUSE) if counts else FIRST_PAUSE
        free = email.freed() if counts and email.state == "waiting" else email
        put_off = replace(free, tries=email.tries + counts, next_try_at=self._clock.latest() + pause)
        return self._changed_as_read(email, put_off)

    def reports_of(self, email: OutboxEmail) -> list[LedgerEntry]:
        """The entries that the email is about; while it collects, those that name it and are settled."""
        if email.state == "collecting":
            return self.settled_for(email.email_id, ((bucket, key) for bucket, key, _ in email.files))
        items = self._read(entry_key(*version) for version in email.files if version[2])
        return list(map(to_entry, items.values()))

    def settled_for(self, email_id: str, keys: Iterable[tuple[str, str]]) -> list[LedgerEntry]:
        """The settled entries of these keys, as they were announced, that name the email."""
        entries = (entry for key in _as_known(keys) for entry in self.entries_of(*key))
        return [entry for entry in entries if entry.email_id == email_id and entry.status in SETTLED]

    def change_email(self, email: OutboxEmail, change: Change) -> OutboxEmail:
        """The email after the change, which is made again if another writer was faster."""
        while True:
            changed = change(email)
            if changed == email:
                return email
            written = replace(changed, revision=email.revision + 1)
            existing = self._write([Put(email_attributes(written), email.revision)])
            if existing is None:
                return written
            email = to_email(email.email_id, existing)

    def _changed_as_read(self, email: OutboxEmail, changed: OutboxEmail) -> OutboxEmail | None:
        """The email as it was written; None if it is not as it was read any more."""
        written = replace(changed, revision=email.revision + 1)
        return written if self._write([Put(email_attributes(written), email.revision)]) is None else None

    def _set_clock(self) -> None:
        """Ask the table for its time, if it has not answered yet."""
        if not self._clock.is_set:
            self._read([Key("#clock", "#clock")])


def _as_known(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The keys as the ledger may know them: as they were announced, or decoded."""
    return list(dict.fromkeys((bucket, each) for bucket, key in keys for each in (key, decoded_key(key))))


def _email_key(email_id: str) -> Key:
    return Key(f"{EMAIL}/{email_id}", EMAIL)
