"""No run hides an announcement: a version that comes at any moment stays due, whenever the run that looks dies.

And nothing stays due for ever: a few announcements later, all is settled.
"""

from collections.abc import Callable
from typing import Final

import pytest

import blocks.landing_zone
from blocks.domain.models import SensorFile
from blocks.runtime import runtime
from tests.simulation.product import _blocks
from tests.simulation.scene import Plan, Scene, scene

AFTER_THE_LEASE: Final = 70.0
ENOUGH_ROUNDS: Final = 6


def landed(at: Scene) -> None:
    at.land()


def archived(at: Scene) -> None:
    at.land()
    at.ingest()


def settled_and_not_moved(at: Scene) -> None:
    at.land()
    owned = at.claim()
    at.settle(owned, removed=False)
    at.end(owned)


def in_its_back_off(at: Scene) -> None:
    at.land()
    at.fail(at.claim())


def two_versions_wait(at: Scene) -> None:
    at.land()
    owned = at.claim()
    at.land_newer()
    at.note()
    at.fail(owned)


def two_versions_waited_and_are_gone(at: Scene) -> None:
    two_versions_wait(at)
    at.delete()


def its_holder_died(at: Scene) -> None:
    at.land()
    at.claim()
    at.pass_time(AFTER_THE_LEASE)


def its_holder_died_before_it_moved_it(at: Scene) -> None:
    at.land()
    at.settle(at.claim(), removed=False)
    at.pass_time(AFTER_THE_LEASE)


def reload_due(at: Scene) -> None:
    archived(at)
    at.change(lambda claim: claim.overtaken(0, "v0", runtime().utc_now()))
    at.pass_time(3)


def reload_due_and_not_moved(at: Scene) -> None:
    its_holder_died_before_it_moved_it(at)
    at.change(lambda claim: claim.overtaken(0, "v0", runtime().utc_now()))
    at.pass_time(3)


STATES = (
    landed,
    archived,
    settled_and_not_moved,
    in_its_back_off,
    two_versions_wait,
    two_versions_waited_and_are_gone,
    its_holder_died,
    its_holder_died_before_it_moved_it,
    reload_due,
    reload_due_and_not_moved,
)


@pytest.mark.parametrize("before", STATES)
def test_a_version_that_comes_at_any_moment_stays_due(before: Callable[[Scene], None]) -> None:
    assert not _wrong(before)


@pytest.mark.parametrize("before", [archived, settled_and_not_moved])
def test_a_version_that_comes_while_another_one_is_loaded_again_stays_due(before: Callable[[Scene], None]) -> None:
    assert not _wrong(before, force=True)


@pytest.mark.parametrize("before", [landed, settled_and_not_moved, two_versions_wait])
def test_a_version_that_comes_to_a_bucket_without_versions_stays_due(before: Callable[[Scene], None]) -> None:
    assert not _wrong(before, versioned=False)


def test_a_version_that_comes_while_another_one_is_settled_where_it_is_stays_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks.landing_zone, "LONGEST_KEY_BYTES", 1)  # no load of it can succeed, nor move it
    assert not _wrong(landed)


def _wrong(before: Callable[[Scene], None], *, force: bool = False, versioned: bool = True) -> list[str]:
    """What went wrong, for each moment at which a version comes and each at which the run dies."""
    wrong, dies_at, calls = list[str](), 0, 1
    while calls >= dies_at:  # the run of the last round did not end by itself
        dies_at += 1
        for announced_at in range(1, dies_at + 1):
            with scene(versioned=versioned) as at:
                before(at)
                plan = Plan(dies_at=dies_at)
                plan.at(max(1, announced_at - (announced_at + dies_at) % 2), at.land_newer)  # or a little earlier
                plan.at(announced_at, at.announce)
                at.ingest(plan, force=force)
                calls = len(plan.calls)
                if calls >= announced_at and (problem := _problem(at, and_rounds=dies_at - announced_at < 2)):
                    wrong.append(f"it is announced at call {announced_at}: {problem}; {plan.calls}")
    assert calls > 1
    return wrong


def _problem(at: Scene, *, and_rounds: bool) -> str:
    if at.is_hidden():
        return "it is hidden"
    if not and_rounds:  # they take longer than the rest
        return ""
    rounds = at.rounds_until_nothing_is_due()
    return f"{rounds} rounds" if rounds > ENOUGH_ROUNDS else ""


# ---- Another run holds the key --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_reload", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 16))
def test_a_version_that_comes_as_a_load_ends_stays_due_when_the_run_that_looks_dies(
    dies_at: int, *, with_reload: bool
) -> None:
    """The run has looked before the version came; the load ends then, perhaps with a reload that is due at once."""
    with scene() as at:
        plan = Plan(dies_at=dies_at)
        _comes_as_a_load_ends(at, plan, with_reload=with_reload)
        assert not at.is_hidden(), plan.calls
        assert at.rounds_until_nothing_is_due() <= ENOUGH_ROUNDS


@pytest.mark.parametrize("fails_from", range(3, 16))
def test_a_version_that_comes_as_a_load_ends_stays_due_when_aws_gives_no_answer(fails_from: int) -> None:
    with scene() as at:
        plan = Plan(fails_at=range(fails_from, fails_from + 5))
        _comes_as_a_load_ends(at, plan, with_reload=True)
        assert not at.is_hidden(), plan.calls


def _comes_as_a_load_ends(at: Scene, plan: Plan, *, with_reload: bool) -> None:
    at.land()
    if with_reload:
        at.change(lambda claim: claim.with_late_writes(0, "v0", runtime().utc_now()))
    owned = at.claim()
    for _ in range(11):  # for longer than older rows may be late
        at.pass_time(AFTER_THE_LEASE - 12)
        at.do(lambda: _blocks().file_ledger.renew(owned.held))
    at.settle(owned)
    plan.at(2, at.land_newer, at.announce, lambda: at.end(owned))
    at.ingest(plan)


def test_an_event_of_the_version_that_is_being_loaded_costs_one_more_look_and_no_more() -> None:
    with scene() as at:
        at.land()
        plan = Plan()
        plan.at(5, at.announce, at.ingest)
        at.ingest(plan)
        assert at.rounds_until_nothing_is_due() <= 1


# ---- Nothing stays due for ever -------------------------------------------------------------------------------------


def test_a_version_that_was_deleted_while_it_waited_is_closed_although_the_key_has_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one failed for good, and has stayed where it is."""
    monkeypatch.setattr(blocks.landing_zone, "LONGEST_KEY_BYTES", 1)
    with scene() as at:
        landed(at)
        at.ingest()
        at.land_newer()
        owned = at.claim()
        at.fail(owned)
        at.product.bucket.remove(owned.entry.key, owned.entry.version)
        assert at.rounds_until_nothing_is_due() <= ENOUGH_ROUNDS
        found = SensorFile(bucket=owned.entry.bucket, key=owned.entry.key, version_id=owned.entry.version)
        entry = at.do(lambda: _blocks().file_ledger.entry(found))
        assert entry.status == "missing"
