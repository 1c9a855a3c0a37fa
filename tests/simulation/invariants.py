"""What must be true at each moment of a simulation, not only at its end: a reload, for one, heals an overwrite.

The fakes call these checks when something has been written. Times are true times, which are those of the table.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar, cast

from blocks.domain.models import SETTLED, LedgerEntry
from blocks.file_ledger.claim_rules import ALL_VERSIONS, CLAIM, Claim, to_claim
from blocks.file_ledger.emails import EMAIL, OutboxEmail, to_email
from blocks.file_ledger.outbox import EMAIL_LEASE, ClaimedEmail
from blocks.file_ledger.table import from_item, to_entry
from flows.loading.lease import Lease
from tests.simulation.aws.s3 import Bucket, Version
from tests.simulation.aws.ses import Mail
from tests.simulation.aws.tables import Key
from tests.simulation.processes import Process, running_thread
from tests.simulation.scheduler import START
from tests.simulation.world import World

T = TypeVar("T")

LOOK_EVERY_SECONDS: Final = 10.0
LATEST_RECOVERY_SECONDS: Final = 120.0
"""Within which what is due is dealt with, once everything is up."""

LONGEST_WITHOUT_RENEWAL: Final = 75.0
"""A lease and what a renewal takes: an undisturbed run has renewed its lease within that time."""

OLDEST_RENEWAL: Final = 3 / 4
"""Share of a lease: three renewals are made while it lasts, so an undisturbed run has renewed it more recently."""

CLOCK_SLACK: Final = timedelta(seconds=5)
"""A process may take the table's time for a little later than it is."""


@dataclass
class Invariants:
    """The problems that were seen so far."""

    world: World
    bucket: Bucket
    is_announced: Callable[[str], bool]
    """Whether all events of the objects under a key have been taken from the queue."""
    problems: list[str] = field(default_factory=list)
    _claims: dict[str, Claim] = field(default_factory=dict)
    _mails: dict[tuple[str, tuple[str, ...]], list[Process]] = field(default_factory=lambda: defaultdict(list))
    _emails: dict[str, OutboxEmail] = field(default_factory=dict)
    _known: dict[int, tuple[Any, object]] = field(default_factory=dict)
    """Items, and what they hold, by the identity of the item."""
    _changed_at: dict[Key, datetime] = field(default_factory=dict)
    """When an item has come into the table, which may be long after it was sent."""
    _up_since: float = 0.0
    _left_since: dict[str, float] = field(default_factory=dict)
    """Since when keys wait in `incoming/` without anything that will make a run look at them."""

    def __post_init__(self) -> None:
        self.world.dynamodb.on_written.append(self._written)
        self.world.readings.on_written.append(self._rows_came)
        self.world.ses.on_mail.append(self._mail_sent)
        self.bucket.on_deleted.append(self._deleted)

    # ---- Claims and entries ---------------------------------------------------------------------------------------

    def _written(self, caller: str, keys: Sequence[Key]) -> None:
        for file, version in keys:
            self._changed_at[file, version] = self._now
            if version == CLAIM:
                self._check_claim(file, caller)
            elif version == EMAIL:
                self._check_email(file, caller)
            elif not version.startswith("#"):
                self._check_entry(self._entries(file)[version])
        for file in {file for file, version in keys if not file.startswith("#")}:
            self._check_together(file)

    def _check_claim(self, file: str, caller: str) -> None:
        before, now = self._claims.get(file), self._claim(file)
        self._claims[file] = now
        if (now.claim_id or now.unsettled or now.reload_at) and not now.next_try_at:
            self._problem(f"{file} is held or waits, and is never due: {now}")
        if before is None or before.claim_id in (None, now.claim_id):
            return
        if before.flow_run_id == self._properties_of(caller).get("flow_run_id"):
            self._check_end(before, now, caller)
            return
        if before.lease_until and before.lease_until > self._now:
            self._problem(f"{caller} ended the claim {before.claim_id} of {file}, whose lease lasts: {before}")

    def _check_end(self, before: Claim, now: Claim, caller: str) -> None:
        """A run that has settled its version goes on with those that came meanwhile."""
        settled = before.holds not in (*before.unsettled, ALL_VERSIONS)
        if settled and now.unsettled and not self._process(caller).faults_met:
            self._problem(f"{caller} left versions to another run: {now}")

    def _check_entry(self, entry: LedgerEntry) -> None:
        if entry.status not in ("archived", "refused") or entry.archived_to is None:
            return
        copy = self.bucket.current(entry.archived_to.removeprefix(f"s3://{entry.bucket}/"))
        original = self.bucket.find(entry.key, entry.version)
        if copy is None or (original and original.content != copy.content):
            self._problem(f"{entry.uri} {entry.version} is {entry.status}, and its copy is not at {entry.archived_to}")

    def _check_together(self, file: str) -> None:
        """The claim and the entries of a key agree, as they are written together."""
        table = self.world.dynamodb.tables["files"]
        if any(key[0] == file for key in table.locks):
            return
        claim = self._claim(file)
        for version, entry in self._entries(file).items():
            if entry.status in SETTLED:
                continue
            if version not in claim.unsettled:
                self._problem(f"{file} {version} is {entry.status}, and its claim does not know that: {claim}")
            alone = claim.unsettled == (version,) and not (claim.claim_id or claim.reload_at or claim.announcements)
            if alone and claim.next_try_at and entry.next_try_at and claim.next_try_at < entry.next_try_at:
                self._problem(f"{file} {version} is due before its back-off ends: {claim}")

    # ---- Rows -----------------------------------------------------------------------------------------------------

    def rows_are_sent(self, lease: Lease) -> None:
        """Called before the fence lets rows through, or refuses them."""
        if lease._lost:  # noqa: SLF001 - a test
            return  # a lease that another run has taken is not renewed
        process, seconds = running_thread().process, lease._ledger.claim_seconds  # noqa: SLF001 - a test
        age = process.monotonic() - lease.held.asked_at
        if age > seconds * OLDEST_RENEWAL and self.world.scheduler.now > process.disturbed_until + seconds:
            self._problem(f"{process.name} has not renewed its lease for {age:.0f} s, and nothing was in its way")

    def rows_were_let_through(self, lease: Lease) -> None:
        """Called after the fence has let rows through: the key is held, as long as the fence believes."""
        process, held = running_thread().process, lease.held.claim
        claim = self._claim(f"{held.bucket}/{held.key}")
        if claim.claim_id != held.claim_id or claim.lease_until is None:
            self._problem(f"{process.name} sends rows of {held.key}, which it does not hold: {claim}")
            return
        ends = self.world.scheduler.now + lease.held.asked_at - process.monotonic() + lease._ledger.claim_seconds  # noqa: SLF001
        if claim.lease_until < START + timedelta(seconds=ends):
            self._problem(f"the fence of {process.name} lets rows through after the end of the lease: {claim}")

    @staticmethod
    def origin(lease: Lease) -> str:
        """What a row of this load is written with, so that it is known where it comes from."""
        claim = lease.held.claim
        return f"{claim.bucket}/{claim.key}#{claim.epoch}"

    def _rows_came(self, origin: str) -> None:
        """Rows that come when their load has ended are noted in the claim: the versions since are written again."""
        file, _, number = origin.partition("#")
        claim, epoch = self._claim(file), int(number)
        if claim.epoch == epoch and claim.claim_id:
            return
        if claim.late_epoch is None or claim.late_until is None or claim.late_epoch > epoch:
            self._problem(f"rows of {file} came, of epoch {epoch}, and the claim expects none: {claim}")
        elif claim.late_until < self._now:
            self._problem(f"rows of {file} came, of epoch {epoch}, later than the claim expects: {claim}")

    def load_was_lost(self, lease: Lease) -> None:
        """Called when a run has dealt with the loss of its claim: what was loaded since is written again at once."""
        process, lost = running_thread().process, lease.held.claim
        claim = self._claim(f"{lost.bucket}/{lost.key}")
        if claim.claim_id == lost.claim_id:  # another run may still take it over
            return
        if claim.reload_at is None or claim.reload_at > self._now + timedelta(seconds=LATEST_RECOVERY_SECONDS):
            self._problem(f"{process.name} has lost {lost.key}, and it is not written again at once: {claim}")

    # ---- Objects --------------------------------------------------------------------------------------------------

    def _deleted(self, version: Version) -> None:
        if not version.key.startswith("incoming/"):
            return
        for entry in self._entries(f"{self.bucket.name}/{version.key}").values():
            copy = self.bucket.current(str(entry.archived_to).removeprefix(f"s3://{entry.bucket}/"))
            if entry.status in SETTLED and copy and copy.content == version.content:
                return
        self._problem(f"{version.key} {version.version_id} was deleted before it was settled and copied")

    # ---- Emails ---------------------------------------------------------------------------------------------------

    def _check_email(self, file: str, caller: str) -> None:
        email_id = file.partition("/")[2]
        before, now = self._emails.get(email_id), self._email(email_id)
        self._emails[email_id] = now
        if before is None or before.claim_id in (None, now.claim_id) or now.state == "sent":
            return
        properties = self._properties_of(caller)
        if before.claim_id == properties.get("email_claim") or before.flow_run_id == properties.get("flow_run_id"):
            return
        if before.lease_until and before.lease_until > self._now and before.state != "collecting":
            self._problem(f"{caller} took the email {email_id} from a run whose lease lasts: {before}")
        kept_at = before.lease_until - EMAIL_LEASE if before.lease_until else self._now
        for process in self.world.processes:
            has_it = before.flow_run_id and process.properties.get("flow_run_id") == before.flow_run_id
            # A run that the server has started again, after the process that claimed the email, has no claim yet.
            lives = has_it and not process.ended and process.started_at < kept_at + CLOCK_SLACK
            if lives and process.disturbed_until + LONGEST_WITHOUT_RENEWAL < self.world.scheduler.now:
                self._problem(f"{process.name} was taken for dead, which lives, and nothing was in its way: {before}")

    def email_is_sent(self, claimed: ClaimedEmail) -> None:
        """Called when a run begins to send an email."""
        properties = running_thread().process.properties
        properties["email_id"], properties["email_claim"] = claimed.email.email_id, claimed.claim_id
        properties["got_it"] = {group.recipients for group in claimed.email.groups if group.message_id}

    def _mail_sent(self, process: Process, mail: Mail) -> None:
        """A second mail of a message is an accident that one of its senders has met with."""
        email_id = process.properties["email_id"]
        senders = self._mails[email_id, mail.recipients]
        senders.append(process)
        if mail.recipients in process.properties["got_it"]:
            self._problem(f"the email {email_id} was sent again to recipients that are known to have it")
        if len(senders) > 1 and not any(sender.faults_met for sender in senders):
            self._problem(f"the email {email_id} was sent {len(senders)} times")
        if self._email(email_id).claim_id != process.properties["email_claim"] and not process.faults_met:
            self._problem(f"{process.name} sent the email {email_id}, which it had not claimed")

    # ---- Recovery -------------------------------------------------------------------------------------------------

    def look_from(self, up_at: float) -> None:
        """Look again and again for what stays due, from the time on when everything is up."""
        self._up_since = up_at
        self.world.scheduler.at(up_at, self._look)

    def _look(self) -> None:
        now = self.world.scheduler.now
        self._up_since = max(self._up_since, *(min(each.stalled_until, now) for each in self.world.processes))
        late = self._now - timedelta(seconds=LATEST_RECOVERY_SECONDS)
        if now > self._up_since + LATEST_RECOVERY_SECONDS:
            files: Any = self.world.dynamodb.tables["files"]
            for item in files.items():
                if "waits_for" in item and self._due_since(item) < late:
                    self._problem(f"due since {self._due_since(item)}, and not looked at: {from_item(item)}")
        self._look_for_left(now)
        self.world.scheduler.later(LOOK_EVERY_SECONDS, self._look)

    def _due_since(self, item: Any) -> datetime:  # noqa: ANN401 - as DynamoDB has it; this look comes often
        came = self._changed_at[item["file"]["S"], item["version"]["S"]]
        return max(datetime.fromisoformat(item["next_try_at"]["S"]), came)

    def _look_for_left(self, now: float) -> None:
        """An object in `incoming/` has an event on its way, or a claim that is due."""
        left = {
            key
            for key in self.bucket.keys("incoming/")
            if self.is_announced(key) and not self._claim(f"{self.bucket.name}/{key}").next_try_at
        }
        self._left_since = {key: self._left_since.get(key, now) for key in left}
        for key, since in self._left_since.items():
            if now - max(since, self._up_since) > LATEST_RECOVERY_SECONDS:
                self._problem(f"{key} was left in incoming/ at {since:.0f} s, and is not due")

    # ---- What is there --------------------------------------------------------------------------------------------

    @property
    def _now(self) -> datetime:
        return self.world.scheduler.true_time

    def _problem(self, text: str) -> None:
        self.world.scheduler.log("invariants", "PROBLEM: {}".format, text)
        self.problems.append(f"{self.world.scheduler.now:.1f} s: {text}")

    def _process(self, name: str) -> Process:
        return next(each for each in reversed(self.world.processes) if each.name == name)

    def _properties_of(self, name: str) -> Mapping[str, Any]:
        return self._process(name).properties

    def _email(self, email_id: str) -> OutboxEmail:
        item: Any = self.world.dynamodb.tables["files"].get((f"{EMAIL}/{email_id}", EMAIL))
        return self._parsed(item, partial(to_email, email_id)) if item else to_email(email_id, None)

    def _claim(self, file: str) -> Claim:
        item: Any = self.world.dynamodb.tables["files"].get((file, CLAIM))
        bucket, _, key = file.partition("/")
        return self._parsed(item, partial(to_claim, bucket, key)) if item else to_claim(bucket, key, None)

    def _entries(self, file: str) -> dict[str, LedgerEntry]:
        items: Any = self.world.dynamodb.tables["files"].partitions[file]
        return {version: self._parsed(item, to_entry) for version, item in items.items() if not version.startswith("#")}

    def _parsed(self, item: Any, parse: Callable[[dict[str, Any]], T]) -> T:  # noqa: ANN401 - as DynamoDB has it
        """What the item holds. Items are replaced as a whole, and most are looked at several times."""
        known = self._known.get(id(item))
        if known is None:
            known = self._known[id(item)] = item, parse(from_item(item))
        return cast("T", known[1])
