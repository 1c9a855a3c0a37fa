"""The record of one email: its files, its recipients, and how far it is. Pure, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from blocks.domain.models import FileReport, utc_text
from blocks.file_ledger.claim_rules import moments

EMAIL: Final = "#email"
"""The `version` of an email's item; its `file` is `#email/ID`."""

WAITS_FOR_EMAIL: Final = "email"
"""What an email waits for, as the index by due time names it."""

OVERDUE_AFTER: Final = timedelta(seconds=45)
"""How long after its due time an email is overdue: the automation that resumes its run takes a few seconds."""

Version = tuple[str, str, str]
"""Bucket, key and version; the version is empty while it is not known."""


def version_of(report: FileReport) -> Version:
    """The version that the report is about."""
    return report.bucket, report.key, report.version or ""


@dataclass(frozen=True)
class Group:
    """Recipients of one message."""

    recipients: tuple[str, ...]
    message_id: str | None = None
    """The id from SES, once it has taken the message."""


@dataclass(frozen=True)
class OutboxEmail:
    """An email of the outbox. Times are those of the table's clock.

    It is `collecting` while its ingest run loads files, `waiting` until it is due and being sent, `sent` in the end.
    """

    email_id: str
    revision: int = 0
    state: str = "collecting"
    files: tuple[Version, ...] = ()
    wait_seconds: float = 0
    due_at: datetime | None = None
    flow_run_id: str | None = None
    """The run that collects for it; once it waits, the run that is to send it."""
    groups: tuple[Group, ...] = ()
    claim_id: str | None = None
    """Of the run that collects for it, or sends it; None if none does."""
    lease_until: datetime | None = None
    tries: int = 0
    next_try_at: datetime | None = None
    """When it is looked at: the end of the lease while a run has it; None once it is sent."""
    sent_at: datetime | None = None

    def is_claimed_by_another(self, claim_id: str, now: datetime) -> bool:
        """Whether a run other than this one has it, whose lease has not expired."""
        return self.claim_id not in (None, claim_id) and self.lease_until is not None and self.lease_until > now

    def is_claimed_by(self, flow_run_id: str) -> bool:
        """Whether that run has it, or had it until its lease expired: the id of a claim begins with that of its run."""
        return self.claim_id is not None and self.claim_id.startswith(f"{flow_run_id}-")

    @property
    def is_untried(self) -> bool:
        """Whether it waits, and no run has ever claimed it to send it."""
        return self.state == "waiting" and self.claim_id is None and not self.groups

    def leased(self, claim_id: str, until: datetime) -> "OutboxEmail":
        """Claimed by this run until then."""
        return replace(self, claim_id=claim_id, lease_until=until, next_try_at=until)

    def collected(
        self, files: Sequence[Version], due_at: datetime, overdue_after: timedelta = OVERDUE_AFTER
    ) -> "OutboxEmail":
        """Waiting until it is due, with the versions that it is about; without any, there is nothing to send."""
        free = replace(self.freed(), flow_run_id=None, files=tuple(files))
        if not files:
            return replace(free, state="sent", next_try_at=None)
        return replace(free, state="waiting", due_at=due_at, next_try_at=due_at + overdue_after)

    def with_groups(self, groups: Sequence[Sequence[str]]) -> "OutboxEmail":
        """With its recipients as they are now. Those that SES has taken a message for have it, and get no other."""
        return replace(self, groups=_still_to_get_it(self._taken, groups))

    def with_message(self, recipients: Sequence[str], message_id: str) -> "OutboxEmail":
        """With the message that SES has taken for these recipients, also if another run has grouped them anew since."""
        group = Group(tuple(recipients), message_id)
        taken = (*(each for each in self._taken if each.recipients != group.recipients), group)
        return replace(self, groups=_still_to_get_it(taken, [each.recipients for each in self.groups]))

    @property
    def has_all_messages(self) -> bool:
        """Whether SES has taken a message for each recipient."""
        return all(each.message_id for each in self.groups)

    def sent(self, now: datetime, by: str | None) -> "OutboxEmail":
        """Sent: it is not looked at any more."""
        return replace(self.freed(), state="sent", sent_at=now, flow_run_id=by, next_try_at=None)

    def put_off(self, until: datetime) -> "OutboxEmail":
        """Looked at again at that time; `tries` grows only when a new run is started."""
        return self if self.state == "sent" else replace(self.freed(), next_try_at=until)

    def freed(self) -> "OutboxEmail":
        """Claimed by no run."""
        return replace(self, claim_id=None, lease_until=None)

    @property
    def _taken(self) -> tuple[Group, ...]:
        return tuple(each for each in self.groups if each.message_id)


def _still_to_get_it(taken: tuple[Group, ...], groups: Sequence[Sequence[str]]) -> tuple[Group, ...]:
    """The groups that have it, and of the others those recipients that have not."""
    have_it = {recipient for each in taken for recipient in each.recipients}
    left = (tuple(recipient for recipient in each if recipient not in have_it) for each in groups)
    return (*taken, *(Group(each) for each in left if each))


_TIMES: Final = ("due_at", "lease_until", "next_try_at", "sent_at")


def email_attributes(email: OutboxEmail) -> dict[str, Any]:
    """The email as an item of the table; it is in the index by due time until it is sent."""
    fields = {name: value for name, value in vars(email).items() if value is not None}
    return {
        "file": f"{EMAIL}/{email.email_id}",
        "version": EMAIL,
        **fields,
        **{name: utc_text(fields[name]) for name in _TIMES if name in fields},
        "files": [list(each) for each in email.files],
        "groups": [
            {"recipients": list(each.recipients), **({"message_id": each.message_id} if each.message_id else {})}
            for each in email.groups
        ],
        "wait_seconds": str(email.wait_seconds),
        **({"waits_for": WAITS_FOR_EMAIL} if email.next_try_at else {}),
    }


def to_email(email_id: str, attributes: Mapping[str, Any] | None) -> OutboxEmail:
    """The email that an item holds; a new one where there is none."""
    if not attributes:
        return OutboxEmail(email_id)
    return OutboxEmail(
        email_id=email_id,
        revision=int(attributes["revision"]),
        state=attributes["state"],
        files=tuple((bucket, key, version) for bucket, key, version in attributes.get("files", ())),
        wait_seconds=float(attributes.get("wait_seconds", 0)),
        flow_run_id=attributes.get("flow_run_id"),
        groups=tuple(Group(tuple(each["recipients"]), each.get("message_id")) for each in attributes.get("groups", ())),
        claim_id=attributes.get("claim_id"),
        tries=int(attributes.get("tries", 0)),
        **moments(attributes, _TIMES),
    )
