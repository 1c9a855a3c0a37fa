"""No sequence of changes of a claim loses a due time or leaves a late row in the table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest

from blocks.file_ledger.claim_rules import ALL_VERSIONS, Claim, claim_attributes, to_claim
from tests.blocks.claims_without_table import LEASE, NOW


@dataclass
class Run:
    """A run that holds the key, or believes that it does."""

    claim_id: str
    epoch: int
    version: str
    lease_until: datetime
    began_at: datetime
    unanswered: bool = False
    has_written: bool = False


@dataclass
class Model:
    """A key, several runs, and one row of the readings table that each version writes."""

    now: datetime = NOW
    claim: Claim = field(default_factory=lambda: Claim("landing", "incoming/a.csv"))
    runs: list[Run] = field(default_factory=list)
    archived: dict[str, int] = field(default_factory=dict)
    row: str = ""
    under_way: list[tuple[str, datetime]] = field(default_factory=list)
    number: int = 0

    def next_id(self) -> str:
        self.number += 1
        return f"{self.number:03}"

    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.under_way = [each for each in self.under_way if each[1] >= self.now]

    def arrive(self, which: int) -> None:
        """A row that is under way comes at the table."""
        if self.under_way:
            self.row, _ = self.under_way.pop(which % len(self.under_way))

    def take(self, which: int) -> None:
        """A new version, or one that waits, is claimed or noted by another run."""
        waiting = [*self.claim.unsettled]
        version = waiting[-1] if waiting and which % 2 else f"v{self.next_id()}"
        self._take(f"c{self.next_id()}", version)

    def reload(self, _: int) -> None:
        if self.claim.reload_at and self.claim.reload_at <= self.now:
            self._take(f"c{self.next_id()}", ALL_VERSIONS)

    def _take(self, claim_id: str, version: str) -> None:
        if self.claim.is_held_by_another(claim_id, self.now):
            self.claim = self.claim if version == ALL_VERSIONS else self.claim.noted(version)
            return
        take = self.claim.taken_from_archive if version == ALL_VERSIONS else self.claim.taken
        self.claim = take(claim_id, "run", version, lease=LEASE, now=self.now)
        self.runs.append(Run(claim_id, self.claim.epoch, version, self.now + LEASE, self.now))

    def on_a_run(self, act: Callable[[Run], None], which: int) -> None:
        if self.runs:
            act(self.runs[which % len(self.runs)])

    def renew(self, run: Run) -> None:
        if self.claim.claim_id == run.claim_id:
            run.lease_until = self.now + LEASE
            self.claim = self.claim.renewed(run.lease_until)

    def send(self, run: Run) -> None:
        """A row is sent, if the fence allows it, and gets no answer; it arrives within five minutes."""
        if self.now < run.lease_until:
            version = self._to_write(run)[-1:]
            self.under_way += [(each, self.now + timedelta(minutes=5)) for each in version]
            run.unanswered = True

    def _to_write(self, run: Run) -> list[str]:
        if run.version != ALL_VERSIONS:
            return [run.version]
        since = {version: epoch for version, epoch in self.archived.items() if epoch > (self.claim.late_epoch or 0)}
        return sorted(since, key=lambda version: since[version])

    def write(self, run: Run) -> None:
        """The row is written once, if the fence allows it: soon after the claim, or not before the end of the load."""
        if self.now < run.lease_until and not run.has_written:
            self.row = [self.row, *self._to_write(run)][-1]
            run.has_written = True

    def finish(self, run: Run) -> None:
        """All rows are written, the version is archived, and the claim ends, if it is still this run's."""
        self.write(run)
        self.runs.remove(run)
        claim = self.claim
        if claim.claim_id != run.claim_id:
            self.claim = claim.overtaken(run.epoch, run.version, self.now)
            return
        if self.now >= run.lease_until:
            return  # the fence stops it; its lease has expired
        late = claim.with_late_writes(run.epoch, run.version, self.now) if run.unanswered else claim
        if run.version == ALL_VERSIONS:
            self.claim = late.reloaded(run.began_at).released(self.now)
        else:
            self.archived[run.version] = run.epoch
            self.claim = late.loaded(run.version).released(self.now)

    def fail(self, run: Run) -> None:
        self.runs.remove(run)
        if self.claim.claim_id != run.claim_id:
            self.claim = self.claim.overtaken(run.epoch, run.version, self.now)
            return
        late = self.claim.with_late_writes(run.epoch, run.version, self.now) if run.unanswered else self.claim
        self.claim = late.put_off(self.now + timedelta(seconds=10), self.now)

    def die(self, run: Run) -> None:
        self.runs.remove(run)

    def stand_still(self, run: Run) -> None:
        """Another step ends the run later, or none does."""

    def expect(self, _: int) -> None:
        self.claim = self.claim.expected(self.now + timedelta(seconds=90), self.now)

    def settle_nothing(self, _: int) -> None:
        self.claim = self.claim.without_due_time()

    def check(self) -> None:
        claim = self.claim
        if claim.unsettled or claim.reload_at or claim.claim_id:
            assert claim.next_try_at is not None
        assert claim == to_claim(claim.bucket, claim.key, claim_attributes(claim))


SECONDS = (0, 0, 1, 61, 61, 250, 550)
STEPS = ("reload", "expect", "settle_nothing", "arrive")
STEPS_OF_RUNS = ("renew", "send", "write", "finish", "fail", "die")
ENDS = ("finish", "finish", "finish", "fail", "die", "stand_still", "stand_still")


def any_step(model: Model, chance: Random) -> None:
    step = chance.choice(STEPS + STEPS_OF_RUNS)
    if step in STEPS:
        getattr(model, step)(chance.randrange(9))
    else:
        model.on_a_run(getattr(model, step), chance.randrange(9))


def any_run(model: Model, chance: Random) -> None:
    """A run that begins, sends rows of which some get no answer, and ends somehow, perhaps long after its lease."""
    before, claim = len(model.runs), model.claim
    due = claim.reload_at is not None and claim.reload_at <= model.now
    getattr(model, "reload" if due and chance.random() < 0.7 else "take")(chance.randrange(2))
    if len(model.runs) > before:
        run = model.runs[-1]
        for step in chance.choice(("send", "write", "send write", "write send", "")).split():
            getattr(model, step)(run)
        pause, arrives_at = chance.choice((1, 55)), chance.randrange(6)
        for number in range(chance.choice((0, 1, 12))):
            model.pass_time(pause)
            model.renew(run)
            if number == arrives_at:
                model.arrive(0)
        model.pass_time(chance.choice(SECONDS))
        getattr(model, chance.choice(ENDS))(run)
    if model.runs and chance.random() < 0.5:
        model.finish(model.runs[0])  # most often one that was overtaken


@pytest.mark.parametrize("seed", range(30))
def test_no_sequence_of_changes_loses_a_due_time_or_leaves_a_late_row_in_the_table(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - no secret
    for _ in range(500):
        model = Model()
        for _ in range(chance.randrange(1, 9)):
            chance.choice((any_run, any_run, any_step))(model, chance)
            model.check()
        bring_to_an_end(model)


def bring_to_an_end(model: Model) -> None:
    """All runs end, all rows arrive, and what is due is done: the newest version's row is in the table."""
    model.runs.clear()
    while model.under_way:
        model.arrive(0)
    for _ in range(30):
        if model.claim.next_try_at is None:
            break
        model.now = max(model.now, model.claim.next_try_at)
        if model.claim.unsettled:
            model.take(1)
        elif model.claim.reload_at and model.claim.reload_at <= model.now:
            model.reload(0)
        else:
            model.claim = model.claim.freed(model.now).without_due_time()
        for run in list(model.runs):
            model.finish(run)
        model.check()
    assert model.claim.next_try_at is None
    assert model.row == max(model.archived, key=lambda version: model.archived[version], default=model.row)
