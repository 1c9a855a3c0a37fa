"""The table of files as it is: entries, claims and emails, read without the code that is tested."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer

from tests.faults.steps import CLAIM_VERSION, EMAIL_VERSION

UNSETTLED: Final = frozenset({"waiting", "loading"})
KEPT: Final = frozenset({"archived", "refused"})
"""The statuses of versions whose object was moved."""

_COUNTS: Final = ("lines", "header", "blank", "accepted", "replaced", "rejected")
_DESERIALIZER: Final = TypeDeserializer()

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One version of a file."""

    item: Item
    emailed_by: frozenset[str]
    """The runs that have sent an email about it, as the ledger says."""

    @property
    def is_emailed(self) -> bool:
        return bool(self.emailed_by)

    @property
    def name(self) -> str:
        return str(self.item["file"]).rpartition("/")[2]

    @property
    def etag(self) -> str | None:
        return self.item.get("etag")

    @property
    def status(self) -> str:
        return str(self.item["status"])

    @property
    def is_settled(self) -> bool:
        return self.status not in UNSETTLED

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(int(self.item.get(name, 0)) for name in _COUNTS)

    @property
    def archived_to(self) -> str | None:
        return self.item.get("archived_to")

    @property
    def rejects_at(self) -> str | None:
        return self.item.get("rejects_at")

    @property
    def email(self) -> str:
        """What entries have in common that one email is about."""
        return str(self.item.get("email_id") or self.item.get("flow_run_id"))

    @property
    def runs(self) -> set[str]:
        """The flow runs that an email about it may name."""
        return {str(self.item["flow_run_id"]), *self.emailed_by} if self.item.get("flow_run_id") else {*self.emailed_by}

    def __str__(self) -> str:
        shown = ("status", "problem", "attempts", "epoch", "claimed_at", "finished_at", "flow_run_id", "archived_to")
        return ", ".join(f"{name} {self.item[name]}" for name in shown if self.item.get(name) is not None)


@dataclass(frozen=True)
class LedgerItems:
    """All items of the table at one moment."""

    items: tuple[Item, ...]

    @classmethod
    def of(cls, items: Iterable[Mapping[str, Any]]) -> "LedgerItems":
        """The items as DynamoDB returns them."""
        return cls(
            tuple({name: _DESERIALIZER.deserialize(value) for name, value in item.items()} for item in items),
        )

    @cached_property
    def entries(self) -> list[Entry]:
        return [Entry(item, self._emailed_by(item)) for item in self.items if not str(item["version"]).startswith("#")]

    def held(self, now: datetime) -> list[str]:
        """What a run has a lease on that has not expired: files and emails."""
        return [
            str(item["file"])
            for item in self.items
            if item.get("claim_id") and (until := _moment(item.get("lease_until"))) and until > now
        ]

    def due(self, now: datetime, within: timedelta) -> list[str]:
        """What is to be loaded or sent by then."""
        return [
            str(item["file"])
            for item in self.items
            if item.get("waits_for") and (at := _moment(item.get("next_try_at"))) and at < now + within
        ]

    def announced(self) -> list[str]:
        """The files that a run was announced for which has not come: the server may not have made it yet."""
        return [str(item["file"]) for item in self.items if item.get("next_try_at") and item.get("announcements")]

    def reloads(self) -> list[str]:
        """The files of which versions are to be written again, as rows of an older version may come after theirs."""
        return [str(item["file"]) for item in self.items if item["version"] == CLAIM_VERSION and item.get("reload_at")]

    def unfinished(self) -> list[str]:
        """What is not settled or not sent, in words."""
        found = [f"{entry.name}: {entry}" for entry in self.entries if not entry.is_settled]
        claims = [item for item in self.items if item["version"] == CLAIM_VERSION and item.get("claim_id")]
        emails = [item for item in self._emails if item.get("state") != "sent"]
        return found + [str(dict(item)) for item in claims + emails]

    def _emailed_by(self, entry: Item) -> frozenset[str]:
        return frozenset(self._runs_of_versions[entry["bucket"], entry["key"], entry["version"]])

    @cached_property
    def _runs_of_versions(self) -> Mapping[tuple[str, ...], set[str]]:
        found: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for email in self._emails:
            for version in email.get("files", ()) if email.get("state") == "sent" else ():
                found[tuple(map(str, version))].add(str(email.get("flow_run_id")))
        return found

    @cached_property
    def _emails(self) -> list[Item]:
        return [item for item in self.items if item["version"] == EMAIL_VERSION]


def _moment(value: object) -> datetime | None:
    """A moment as the table has it: text, or seconds since the epoch."""
    if value in (None, ""):
        return None
    return datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(float(str(value)), UTC)
