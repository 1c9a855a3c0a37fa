"""`kill -9` and SIGSTOP at each named step of the flow, before AWS has got the call and after it has done what it says.

One fault catches a file at each step: the calls of these files are held, each at a step of its own, then the victim is
killed or stands still, and the calls that still have a caller are let go. No sweep runs: what is due is taken up by
itself.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import pytest

from flows.ingest import FILES_AT_ONCE
from tests.faults.dropped_files import Dropper, FileVersion, slug
from tests.faults.oracle import World, assert_nothing_lost_nothing_twice
from tests.faults.processes import Stalled
from tests.faults.proxy import Moment
from tests.faults.recovery import Recovery
from tests.faults.settings import AS_INSTALLED, HASTY
from tests.faults.steps import (
    ALL_STEPS,
    CLAIM,
    CLAIM_EMAIL,
    EMAIL_STEPS,
    LOAD_STEPS,
    NOTE_SENT,
    RECEIVE,
    REMOVE,
    SEND,
    SETTLE,
    WRITE,
    Step,
)
from tests.faults.system import WITHIN_SECONDS, Caught, FaultySystem

Part = Literal["warm", "worker", "relay", "server", "postgres"]


@dataclass(frozen=True)
class Kill:
    """Who is killed, and at which moment of the calls that are held."""

    name: str
    part: Part | None = None
    runs: bool = False
    """Whether the processes of the flow runs are."""
    runs_follow: bool = False
    """Whether they end by themselves then: Prefect 3.9 aborts a run whose worker is gone at its next log line."""
    moment: Moment = "after"
    how: str = "kill -9 of"

    @property
    def group(self) -> str:
        """What the report of the recovery times names it."""
        return f"{self.how} one of them, {HASTY.name}"

    def mails_at_most(self, step: Step) -> int:
        """Two where a process died between SES taking the email and the note of it, else one.

        A run whose worker is gone goes on to its next log line. From the claim of the email that may be the one between
        SES taking the email and the note of it.
        """
        unnoted = (step is SEND and self.moment == "after") or (step is NOTE_SENT and self.moment == "before")
        may_go_on_to_it = self.runs_follow and step is CLAIM_EMAIL
        return 2 if (unnoted and (self.runs or self.runs_follow)) or may_go_on_to_it else 1

    def happens_to(self, system: FaultySystem, caught: list[Caught]) -> Stalled | None:
        if self.part:
            system.kill_part(self.part)
        if self.runs:
            system.kill_runs(caught)
        return None


@dataclass(frozen=True)
class Stall(Kill):
    """Who stands still, for longer than a lease; its calls are on their way, and arrive when it goes on."""

    moment: Moment = "before"
    how: str = "SIGSTOP of"

    def mails_at_most(self, step: Step) -> int:
        """Two where another run has sent the email meanwhile."""
        return 2 if self.runs and step in (SEND, NOTE_SENT) else 1

    def happens_to(self, system: FaultySystem, caught: list[Caught]) -> Stalled | None:
        return system.stall_part(self.part) if self.part else system.stall_runs(caught)


@dataclass(frozen=True)
class KillAsInstalled(Kill):
    """Who is killed, while the settings are those of an installation."""

    how: str = f"kill -9, {AS_INSTALLED.name}, of"

    @property
    def group(self) -> str:
        return f"{self.how} {self.name}"


KILLS = (
    Kill("process of the run, before", runs=True, moment="before"),
    Kill("process of the run, after", runs=True),
    Kill("worker", "worker", runs_follow=True),
    Kill("worker and run", "worker", runs=True),
    Kill("warm process and its runs", "warm", runs=True),
    Kill("relay", "relay"),
    Kill("Prefect server", "server"),
    Kill("PostgreSQL", "postgres"),
)
STALLS = (Stall("process of the run", runs=True), Stall("relay", "relay"), Stall("Prefect server", "server"))

KILLS_AS_INSTALLED = tuple(
    KillAsInstalled(kill.name, kill.part, kill.runs, kill.runs_follow) for kill in KILLS if kill.moment == "after"
)
STEPS_AS_INSTALLED = (CLAIM, WRITE, SETTLE, SEND)
"""Two runs at a time are all that there are."""


@dataclass(frozen=True)
class Recovered:
    """What became of the files that a fault met."""

    at: dict[Step, FileVersion]
    """The file that was at each step when it happened."""
    recovery: Recovery
    world: World
    """What was there afterwards."""


def catch(system: FaultySystem, files: Dropper, fault: Kill, steps: tuple[Step, ...]) -> Recovered:
    """What became of the files that were at each step when it happened."""
    at = {step: files.new(f"{fault.name} {step.name}") for step in steps}
    stalled: Stalled | None = None
    caught: dict[Step, Caught] = {}
    try:
        with ExitStack() as stack:
            for step, file in at.items():
                caught[step] = stack.enter_context(system.catching(step.of(*file.words), fault.moment))
            drop_for(at, system, files)
            for step, each in caught.items():
                wait_for(each, step, system)
            stalled = fault.happens_to(system, list(caught.values()))
            if stalled and fault.runs:
                system.wait_until_finished(list(at.values()))  # by other runs; only then do the calls arrive
        if stalled and not fault.runs:
            system.wait_for_longer_than_a_lease()
    finally:
        if stalled:
            system.go_on(stalled, list(caught.values()))
    recovery = system.recover(list(at.values()), fault.group)
    return Recovered(at, recovery, system.look())


def drop_for(at: dict[Step, FileVersion], system: FaultySystem, files: Dropper) -> None:
    """Drop the files so that each can be caught at its step: a run for each step of a run, few runs for the others."""
    for step in (step for step in EMAIL_STEPS if step in at):
        files.drop(at[step])
        system.wait_until_announced(at[step])
    for group in in_runs([step for step in LOAD_STEPS if step in at]):
        with system.arriving_together():
            for step in group:
                files.drop(at[step])
        for step in group:
            system.wait_until_announced(at[step])


def in_runs(steps: list[Step]) -> list[list[Step]]:
    """The steps in groups, each as large as the number of files that a run works on at the same time."""
    return [steps[first : first + FILES_AT_ONCE] for first in range(0, len(steps), FILES_AT_ONCE)]


def assert_recovered(system: FaultySystem, result: Recovered, fault: Kill, step: Step) -> None:
    file, at_most = result.at[step], fault.mails_at_most(step)
    result.recovery.assert_in_time(file)
    assert_nothing_lost_nothing_twice(system, [file], mails_at_most=at_most, world=result.world)


@pytest.fixture(scope="module")
def fault(request: pytest.FixtureRequest) -> Kill:
    kill: Kill = request.param
    return kill


@pytest.fixture(scope="module")
def recovered(system: FaultySystem, files: Dropper, fault: Kill) -> Recovered:
    return catch(system, files, fault, ALL_STEPS)


@pytest.mark.parametrize("step", ALL_STEPS, ids=lambda step: slug(step.name))
@pytest.mark.parametrize(
    "fault", [*KILLS, *STALLS], ids=lambda kill: slug(f"{kill.how} {kill.name}"), indirect=True, scope="module"
)
def test_a_file_is_loaded_once_although_a_process_was_killed_or_stalled_at(
    system: FaultySystem, recovered: Recovered, fault: Kill, step: Step
) -> None:
    assert_recovered(system, recovered, fault, step)


@pytest.fixture(scope="module")
def recovered_as_installed(system: FaultySystem, files: Dropper, fault: Kill) -> Recovered:
    with system.using(AS_INSTALLED):
        return catch(system, files, fault, STEPS_AS_INSTALLED)


@pytest.mark.parametrize("step", STEPS_AS_INSTALLED, ids=lambda step: slug(step.name))
@pytest.mark.parametrize("fault", KILLS_AS_INSTALLED, ids=lambda kill: slug(kill.name), indirect=True, scope="module")
def test_as_installed_a_file_is_loaded_within_two_minutes_although_a_process_was_killed_at(
    system: FaultySystem, recovered_as_installed: Recovered, fault: Kill, step: Step
) -> None:
    assert_recovered(system, recovered_as_installed, fault, step)


@dataclass(frozen=True)
class StepOfTheRelay:
    name: str
    step: Step
    moment: Moment


AT_THE_RELAY = (
    StepOfTheRelay("relay: receive", RECEIVE, "after"),
    StepOfTheRelay("relay: remove, before", REMOVE, "before"),
    StepOfTheRelay("relay: remove, after", REMOVE, "after"),
)


@pytest.mark.parametrize("step", AT_THE_RELAY, ids=lambda at: slug(at.name))
@pytest.mark.parametrize(
    "fault", [kill for kill in KILLS if kill.part and not kill.runs], ids=lambda kill: slug(kill.name)
)
def test_a_file_is_loaded_once_although_a_part_was_killed_while_the_relay_was_at(
    system: FaultySystem, files: Dropper, fault: Kill, step: StepOfTheRelay
) -> None:
    file = files.new(f"{fault.name} {step.name}")
    words = file.name if step.step is RECEIVE else ""  # what is to be removed has no name, only a number
    with system.proxy.holding(step.step.of(words), step.moment) as hold:
        files.drop(file)
        assert hold.reached.wait(WITHIN_SECONDS), f"the step was never reached; {system.evidence()}"
        hold.caller_is_dead = fault.part == "relay"
        assert fault.part
        system.kill_part(fault.part)
    recovery = system.recover([file], f"kill -9 of one of them while the relay announces, {HASTY.name}")
    recovery.assert_in_time(file)
    assert_nothing_lost_nothing_twice(system, [file], mails_at_most=1)


def wait_for(caught: Caught, step: Step, system: FaultySystem) -> None:
    """Return when the step was reached."""
    assert caught.hold.reached.wait(WITHIN_SECONDS), f"{step.name} was never reached; {system.evidence()}"
