"""The claim of a key: each change of it, and that no sequence of changes loses a due time or a late write."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from blocks.file_ledger.claims import (
    ALL_VERSIONS,
    LATE_WRITES_END_AFTER,
    Claim,
    claim_attributes,
    moments,
    to_claim,
)
from blocks.file_ledger.table import from_item, to_item

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
FREE = Claim("landing", "incoming/a.csv", revision=7, epoch=3)
LATE = NOW + LATE_WRITES_END_AFTER


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def take(claim: Claim, version: str = "v1", claim_id: str = "c1", now: datetime = NOW) -> Claim:
    return claim.taken(claim_id, f"run of {claim_id}", version, lease=LEASE, now=now)


HELD = take(FREE)


# ---- Taken, renewed, ended ------------------------------------------------------------------------------------------


def test_a_key_that_is_taken_is_held_by_the_run_in_a_new_epoch_until_its_lease_ends() -> None:
    assert Claim(
        "landing",
        "incoming/a.csv",
        revision=7,
        epoch=4,
        claim_id="c1",
        flow_run_id="run of c1",
        holds="v1",
        lease_until=after(60),
        unsettled=("v1",),
        next_try_at=after(60),
    ) == take(FREE)


def test_a_key_is_held_until_its_lease_ends_and_by_its_own_claim_never_by_another() -> None:
    assert HELD.is_held(after(59.9))
    assert not HELD.is_held(after(60))
    assert HELD.is_held_by_another("c2", NOW)
    assert not HELD.is_held_by_another("c1", NOW)
    assert not HELD.is_held_by_another("c2", after(60))
    assert not FREE.is_held(NOW)


def test_a_renewed_lease_ends_later_and_the_key_is_looked_at_then() -> None:
    renewed = HELD.renewed(after(80))
    assert (after(80), after(80)) == (renewed.lease_until, renewed.next_try_at)


def test_a_version_that_is_taken_replaces_those_that_waited() -> None:
    assert ("v3",) == take(replace(FREE, unsettled=("v1", "v2")), "v3").unsettled


def test_a_reload_leaves_the_versions_that_wait() -> None:
    assert ("v1", "v2") == take(replace(FREE, unsettled=("v1", "v2")), ALL_VERSIONS).unsettled


def test_a_run_goes_on_with_the_next_version_under_its_own_claim_without_late_writes() -> None:
    again = take(HELD.noted("v2"), "v2")
    assert (5, "v2", ("v2",), None) == (again.epoch, again.holds, again.unsettled, again.late_epoch)


def test_a_released_key_is_looked_at_no_more() -> None:
    free = HELD.settled("v1").released(NOW)
    assert replace(FREE, epoch=4) == free


def test_a_released_key_is_due_at_once_if_a_version_waits() -> None:
    assert NOW == HELD.noted("v2").settled("v1").released(NOW).next_try_at


def test_a_released_key_is_looked_at_again_for_its_reload() -> None:
    assert after(9) == replace(HELD.settled("v1"), reload_at=after(9)).released(NOW).next_try_at


def test_after_a_failed_load_the_key_is_looked_at_when_the_back_off_ends() -> None:
    free = HELD.put_off(after(10), NOW)
    assert (None, None, None, None, ("v1",)) == (
        free.claim_id,
        free.flow_run_id,
        free.holds,
        free.lease_until,
        free.unsettled,
    )
    assert after(10) == free.next_try_at


@pytest.mark.parametrize(("reload_at", "then"), [(NOW, after(10)), (after(99), after(99))])
def test_the_back_off_of_a_failed_load_holds_for_a_reload_too(reload_at: datetime, then: datetime) -> None:
    free = replace(HELD, reload_at=reload_at).put_off(after(10), NOW)
    assert (after(10), then) == (free.next_try_at, free.reload_at)


def test_a_failed_load_does_not_forget_an_announcement_that_came_meanwhile() -> None:
    free = HELD.expected(after(90), NOW).put_off(after(3600), NOW)
    assert (after(90), 1) == (free.next_try_at, free.announcements)


def test_a_failed_load_delays_no_other_version() -> None:
    free = replace(HELD.noted("v2"), reload_at=NOW).put_off(after(10), NOW)
    assert (NOW, after(10)) == (free.next_try_at, free.reload_at)


def test_a_failed_reload_delays_no_version_that_waits() -> None:
    held = replace(FREE, reload_at=NOW).noted("v2").taken_to_reload("c2", "run", lease=LEASE, now=NOW)
    free = held.put_off(after(10), NOW)
    assert (NOW, after(10)) == (free.next_try_at, free.reload_at)


def test_reloads_are_counted_until_one_is_done() -> None:
    claim = replace(FREE, late_epoch=1, late_version="v0", late_until=NOW, reload_at=NOW)
    for tries in (1, 2, 3):
        claim = claim.taken_to_reload("c2", "run", lease=LEASE, now=NOW)
        assert (tries, ALL_VERSIONS) == (claim.reload_tries, claim.holds)
        claim = claim.put_off(after(10), NOW)
    assert 0 == claim.reloaded(after(1)).reload_tries


# ---- Versions that wait ---------------------------------------------------------------------------------------------


def test_versions_are_noted_once_each_in_the_order_of_their_coming() -> None:
    assert ("v1", "v3", "v2") == HELD.noted("v3").noted("v2").noted("v3").noted("v1").unsettled


def test_a_settled_version_waits_no_more() -> None:
    assert ("v2",) == HELD.noted("v2").settled("v1").settled("v9").unsettled


# ---- What is expected -----------------------------------------------------------------------------------------------


def test_an_announced_key_is_looked_at_again_whenever_it_was_due_before() -> None:
    assert after(90) == FREE.expected(after(90), NOW).next_try_at
    assert after(90) == replace(FREE, next_try_at=after(5)).expected(after(90), NOW).next_try_at


def test_a_held_key_that_is_announced_is_looked_at_when_its_lease_ends() -> None:
    assert HELD.next_try_at == HELD.expected(after(90), NOW).next_try_at


def test_an_announcement_that_no_run_came_for_is_looked_at_after_the_load() -> None:
    """The Prefect server may lose it; the run that holds the key knows nothing of it."""
    announced = HELD.expected(after(90), NOW)
    assert after(90) == announced.settled("v1").released(after(5)).next_try_at
    assert after(5) == announced.noted("v2").settled("v1").released(after(5)).next_try_at, "its run has come"
    assert announced.noted("v1").settled("v1").released(after(5)).next_try_at is None, "its run has come"


def test_an_announcement_counts_also_if_the_run_renews_its_lease_after_all() -> None:
    """A run whose lease has expired still holds the key, until another run takes it over."""
    renewed = HELD.expected(after(150), after(61)).renewed(after(130))
    assert after(150) == renewed.settled("v1").released(after(70)).next_try_at


def test_a_key_whose_lease_has_expired_is_not_announced_again_at_once() -> None:
    assert after(150) == HELD.expected(after(150), after(60)).next_try_at


def test_with_nothing_due_a_key_is_looked_at_for_its_reload_only() -> None:
    assert replace(FREE, next_try_at=NOW).with_nothing_due().next_try_at is None
    assert after(9) == replace(FREE, next_try_at=NOW, reload_at=after(9)).with_nothing_due().next_try_at


def test_a_key_that_is_held_or_has_a_version_that_waits_stays_due() -> None:
    waits = replace(FREE, unsettled=("v1",), next_try_at=NOW)
    assert waits.with_nothing_due() == waits
    assert HELD.with_nothing_due() == HELD


def test_a_request_may_arrive_as_long_as_its_signature_lasts_by_clocks_that_differ() -> None:
    assert timedelta(minutes=5) + timedelta(minutes=5) == LATE_WRITES_END_AFTER


# ---- Late writes ----------------------------------------------------------------------------------------------------


def late(claim: Claim) -> tuple[int | None, str | None, datetime | None]:
    return claim.late_epoch, claim.late_version, claim.late_until


def test_a_holder_that_did_not_end_its_claim_may_still_write_rows_of_its_version() -> None:
    free = HELD.freed(NOW)
    assert (4, "v1", LATE) == late(free)
    assert (None, NOW) == (free.claim_id, free.next_try_at)


def test_a_key_whose_holder_died_is_due_at_once_also_if_no_version_waits() -> None:
    """The holder may have settled a version, and not have deleted the original."""
    assert HELD.settled(str(HELD.holds)).freed(NOW).next_try_at == NOW


def test_a_free_key_has_no_holder_whose_rows_may_come_late() -> None:
    assert FREE.freed(NOW) == FREE


def test_a_takeover_notes_the_late_writes_of_the_holder_before() -> None:
    taken = take(HELD, "v2", "c2", after(61))
    assert (4, "v1", after(61) + LATE_WRITES_END_AFTER) == late(taken)
    assert (5, "c2") == (taken.epoch, taken.claim_id)


def test_late_writes_of_several_epochs_count_from_the_lowest_and_as_long_as_the_last() -> None:
    claim = FREE.with_late_writes(2, "v1", NOW)
    assert (2, "v1", after(30) + LATE_WRITES_END_AFTER) == late(claim.with_late_writes(3, "v1", after(30)))
    assert (2, ALL_VERSIONS, after(30) + LATE_WRITES_END_AFTER) == late(claim.with_late_writes(3, "v2", after(30)))
    assert (1, ALL_VERSIONS, LATE) == late(claim.with_late_writes(1, "v2", NOW))


def test_a_version_over_which_older_rows_may_come_is_written_again_once_they_have_arrived() -> None:
    assert LATE == take(HELD, "v2", "c2").loaded("v2").reload_at


def test_rows_of_the_same_version_may_come_late() -> None:
    assert take(HELD, "v1", "c2").loaded("v1").reload_at is None


def test_the_next_version_after_one_with_late_rows_is_written_again() -> None:
    same = take(HELD, "v1", "c2").loaded("v1").released(NOW)
    assert LATE == take(same, "v2", "c3", after(120)).loaded("v2").reload_at


def test_a_load_that_began_while_rows_could_come_late_is_written_again_however_late_it_ends() -> None:
    claim = take(HELD, "v2", "c2").renewed(after(3600))
    assert LATE == claim.loaded("v2").reload_at


def test_late_writes_that_arrived_before_a_load_began_are_forgotten() -> None:
    free = replace(FREE, late_epoch=1, late_version="v0", late_until=after(-1))
    assert (None, None, None) == late(take(free))
    assert take(free).loaded("v1").reload_at is None


def test_late_writes_are_kept_while_they_may_arrive_or_a_reload_is_due() -> None:
    free = replace(FREE, late_epoch=1, late_version="v0", late_until=after(1))
    assert (1, "v0", after(1)) == late(take(free))
    due = replace(free, late_until=after(-9), reload_at=after(-9))
    assert (1, "v0", after(-9)) == late(take(due))


def test_a_reload_that_is_due_already_stays_due() -> None:
    claim = replace(take(HELD, "v2", "c2"), reload_at=after(5))
    assert after(5) == claim.loaded("v2").reload_at


def test_without_late_writes_nothing_is_written_again() -> None:
    assert HELD.loaded("v1") == HELD.settled("v1")


def test_a_run_that_was_overtaken_has_what_was_loaded_since_written_again_at_once() -> None:
    free = take(HELD, "v2", "c2").loaded("v2").released(NOW)
    noted = free.overtaken(4, "v1", after(5))
    assert (4, "v1", after(5) + LATE_WRITES_END_AFTER) == late(noted)
    assert (after(5), after(5)) == (noted.reload_at, noted.next_try_at)


def test_a_run_that_was_overtaken_leaves_the_lease_of_the_holder() -> None:
    taken = take(HELD, "v2", "c2")
    noted = taken.overtaken(4, "v1", after(5))
    assert (after(5), taken.next_try_at, taken.lease_until) == (noted.reload_at, noted.next_try_at, noted.lease_until)
    assert after(5) == noted.loaded("v2").released(after(9)).next_try_at


def test_a_reload_that_began_when_all_rows_had_arrived_is_the_last() -> None:
    due = replace(FREE, late_epoch=1, late_version="v0", late_until=NOW, reload_at=NOW)
    assert due.reloaded(after(1)) == FREE


def test_a_reload_that_began_while_rows_could_arrive_is_made_once_more() -> None:
    due = replace(FREE, late_epoch=1, late_version="v0", late_until=after(60), reload_at=NOW)
    assert due.reloaded(NOW) == replace(due, reload_at=after(60))


# ---- As an item -----------------------------------------------------------------------------------------------------

CLAIMS = [
    Claim("landing", "incoming/é.csv"),
    FREE,
    HELD,
    take(HELD.noted("v2"), "v3", "c2").loaded("v3").released(NOW),
    HELD.put_off(after(10), NOW),
    replace(FREE, reload_at=NOW).taken_to_reload("c2", "run", lease=LEASE, now=NOW),
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_survives_the_way_through_the_table(claim: Claim) -> None:
    assert claim == to_claim(claim.bucket, claim.key, from_item(to_item(claim_attributes(claim))))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_in_the_index_by_due_time_while_it_is_due(claim: Claim) -> None:
    attributes = claim_attributes(claim)
    assert (f"landing/{claim.key}", "#claim") == (attributes["file"], attributes["version"])
    assert (attributes.get("waits_for") == "load") == (claim.next_try_at is not None)


def test_times_are_text_that_sorts_in_their_order() -> None:
    assert "2026-11-22T20:01:00.000+00:00" == claim_attributes(HELD)["next_try_at"]


@pytest.mark.parametrize("attributes", [None, {}])
def test_without_an_item_the_key_was_never_claimed(attributes: dict[str, str] | None) -> None:
    assert Claim("landing", "incoming/a.csv") == to_claim("landing", "incoming/a.csv", attributes)


@pytest.mark.parametrize("text", ["2026-11-22T20:00:00", "2026-11-22", "soon"])
def test_a_time_that_somebody_else_wrote_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset|Invalid isoformat"):
        moments({"next_try_at": text}, ["next_try_at"])


# ---- Any sequence of changes ----------------------------------------------------------------------------------------


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
        self.claim = self.claim.taken(claim_id, "run", version, lease=LEASE, now=self.now)
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
        self.claim = self.claim.with_nothing_due()

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
            model.claim = model.claim.freed(model.now).with_nothing_due()
        for run in list(model.runs):
            model.finish(run)
        model.check()
    assert model.claim.next_try_at is None
    assert model.row == max(model.archived, key=lambda version: model.archived[version], default=model.row)
