"""A newer version with other values for most of the same keys lands while the load of the first one stands at a step.

One run loads a file for each step, and stands at all of them at the same time; then the newer versions are dropped,
and the first run goes on, stands still until the newer versions are archived, or is killed. In the end the table has
the rows of the newer versions.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import pytest

from tests.faults.dropped_files import MANY_ROWS, Dropper, FileVersion, slug
from tests.faults.ledger_items import Item
from tests.faults.oracle import World, assert_nothing_lost_nothing_twice
from tests.faults.proxy import Moment
from tests.faults.recovery import Recovery
from tests.faults.settings import HASTY, LARGE_FILES_IN_PROCESSES
from tests.faults.steps import CLAIM, COPY, DELETE, RELEASE, SEND, SETTLE, VALIDATE, WRITE, Step
from tests.faults.system import WITHIN_SECONDS, Caught, FaultySystem

if TYPE_CHECKING:
    from tests.faults.processes import Stalled

PASSED_IN_THE_MIDDLE: Final = 5
"""Batches of a file that are written before a load stands in the middle of the writing."""


@dataclass(frozen=True)
class Place:
    """Where the first load stands."""

    name: str
    step: Step
    let_pass: int = 0


def _at(step: Step) -> Place:
    return Place(step.name, step)


WRITE_FIRST = Place("write the first readings", WRITE)
WRITE_MIDDLE = Place("write readings, in the middle", WRITE, PASSED_IN_THE_MIDDLE)
NOTIFY = _at(SEND)

PLACES = (
    *(_at(CLAIM), _at(VALIDATE), WRITE_FIRST, WRITE_MIDDLE, _at(COPY), _at(SETTLE), _at(DELETE), _at(RELEASE)),
    NOTIFY,
)
"""As many as a run loads at the same time, and the email, which is sent by a run of its own."""

PLACES_OF_SHARDS = (WRITE_MIDDLE,)
"""One file: each load starts two processes, and two loads at once would start as many as twice the cores."""

NEWER_WITHIN: Final = {"threads": timedelta(seconds=10), "processes": timedelta(seconds=45)}
"""From the end of a load until a newer version, which landed meanwhile, is loaded by the same run.

Each load in processes starts two of them. Alone on two cores that took 6.6 s in all, beside another stack up to 30 s.
"""


@dataclass(frozen=True)
class Newer:
    """What becomes of the first run after a newer version has landed."""

    name: str
    then: Literal["goes on", "stalls", "dies"]
    moment: Moment = "before"
    """Of the held calls: those of a run that goes on reach AWS once the newer version has landed, or is archived."""
    writes_in: Literal["threads", "processes"] = "threads"
    how: str = "newer version, first run"


WAYS = (
    Newer("goes on", "goes on"),
    Newer("stalls past its lease", "stalls"),
    Newer("is killed", "dies", "after"),
)
WAYS_OF_SHARDS = tuple(
    replace(way, writes_in="processes", how="newer version, processes of the first run") for way in WAYS
)


@dataclass(frozen=True)
class Landed:
    """What became of the files whose first loads stood at each place."""

    versions: dict[Place, list[FileVersion]]
    recovery: Recovery
    world: World
    """What was there afterwards."""


@pytest.fixture(scope="module")
def fault(request: pytest.FixtureRequest) -> Newer:
    way: Newer = request.param
    return way


def land(system: FaultySystem, files: Dropper, fault: Newer, places: tuple[Place, ...]) -> Landed:
    """What became of the versions of the files that stood at each place, after everything has recovered."""
    first = {place: files.new(f"first {fault.name} {place.name}", MANY_ROWS) for place in places}
    newer = [file.newer() for file in first.values()]
    stalled: Stalled | None = None
    caught: dict[Place, Caught] = {}
    try:
        with ExitStack() as stack:
            for place, file in first.items():
                matches = place.step.of(*file.words)
                caught[place] = stack.enter_context(system.catching(matches, fault.moment, place.let_pass))
            drop_first(first, system, files)
            for place, each in caught.items():
                wait_for(each, place, system)
            if fault.then == "stalls":
                stalled = system.stall_runs(list(caught.values()))
            with system.arriving_together():
                for file in newer:
                    files.drop(file)
            if fault.then == "stalls":
                system.wait_until_finished(newer)
            else:
                system.wait_until_noted(newer)
            if fault.then == "dies":
                system.kill_runs(list(caught.values()))
    finally:
        if stalled:
            system.go_on(stalled, list(caught.values()))
    recovery = system.recover(newer, f"newer version lands, {HASTY.name}")
    if fault.then == "goes on":  # on a slow machine the calls are held for longer than the first loads wait for them
        system.let_reloads_be_due()
    return Landed({place: [file, file.newer()] for place, file in first.items()}, recovery, system.look())


def drop_first(first: dict[Place, FileVersion], system: FaultySystem, files: Dropper) -> None:
    """Drop the first versions: one run for all but the email, which is sent by a run about its file alone."""
    if NOTIFY in first:
        files.drop(first[NOTIFY])
        system.wait_until_announced(first[NOTIFY])
    with system.arriving_together():
        for place, file in first.items():
            if place is not NOTIFY:
                files.drop(file)


def wait_for(caught: Caught, place: Place, system: FaultySystem) -> None:
    assert caught.hold.reached.wait(WITHIN_SECONDS), f"{place.name} was never reached; {system.evidence()}"


def assert_newest_rows(system: FaultySystem, landed: Landed, fault: Newer, step: Place) -> None:
    versions = landed.versions[step]
    landed.recovery.assert_in_time(versions[-1])
    # The first email may be sent by another run, while the call of the first one is on its way.
    at_most = 1 if fault.then == "goes on" else 2
    assert_nothing_lost_nothing_twice(system, versions, mails_at_most=at_most, world=landed.world)
    if fault.then == "goes on" and step.step is WRITE:
        first, newer = (entry_of(landed.world, version) for version in versions)
        assert newer["flow_run_id"] == first["flow_run_id"]
        later = datetime.fromisoformat(newer["finished_at"]) - datetime.fromisoformat(first["finished_at"])
        assert later < NEWER_WITHIN[fault.writes_in], f"{later} after the end of the first load"


def entry_of(world: World, version: FileVersion) -> Item:
    [entry] = [entry for entry in world.entries if (entry.name, entry.etag) == (version.name, version.etag)]
    return entry.item


@pytest.fixture(scope="module")
def landed(system: FaultySystem, files: Dropper, fault: Newer) -> Landed:
    return land(system, files, fault, PLACES)


@pytest.mark.parametrize("step", PLACES, ids=lambda place: slug(place.name))
@pytest.mark.parametrize("fault", WAYS, ids=lambda way: slug(way.name), indirect=True, scope="module")
def test_the_rows_of_a_newer_version_stay_although_the_first_load_stood_at(
    system: FaultySystem, landed: Landed, fault: Newer, step: Place
) -> None:
    assert_newest_rows(system, landed, fault, step)


@pytest.fixture(scope="module")
def landed_on_shards(system: FaultySystem, files: Dropper, fault: Newer) -> Landed:
    with system.using(replace(HASTY, name="large files in processes", large_files=LARGE_FILES_IN_PROCESSES)):
        return land(system, files, fault, PLACES_OF_SHARDS)


@pytest.mark.parametrize("step", PLACES_OF_SHARDS, ids=lambda place: slug(place.name))
@pytest.mark.parametrize("fault", WAYS_OF_SHARDS, ids=lambda way: slug(way.name), indirect=True, scope="module")
def test_the_rows_of_a_newer_version_stay_although_processes_of_the_first_load_stood_at(
    system: FaultySystem, landed_on_shards: Landed, fault: Newer, step: Place
) -> None:
    assert_newest_rows(system, landed_on_shards, fault, step)
