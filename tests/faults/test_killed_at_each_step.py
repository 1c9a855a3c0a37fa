"""`kill -9` at each named step of the flow, before AWS has got the call and after it has done what it says.

One kill catches a file at each step: the calls of eleven files are held, each at a step of its own, then the victim is
killed, and the calls that still have a caller are let go.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.faults.oracle import DroppedFile, Dropper, assert_nothing_lost_nothing_twice, slug
from tests.faults.proxy import Hold, Moment
from tests.faults.steps import ALL_STEPS, DELETE, NOTE_TOLD, RECEIVE, REMOVE, SEND, Step
from tests.faults.system import WITHIN_SECONDS, FaultySystem

Part = Literal["worker", "relay", "server", "postgres"]


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

    def mails_at_most(self, step: Step) -> int:
        """Two where a process died between SES taking the email and the note of it, else one."""
        untold = (step is SEND and self.moment == "after") or (step is NOTE_TOLD and self.moment == "before")
        return 2 if untold and (self.runs or self.runs_follow) else 1


KILLS = (
    Kill("process of the run, before", runs=True, moment="before"),
    Kill("process of the run, after", runs=True),
    Kill("worker", "worker", runs_follow=True),
    Kill("worker and run", "worker", runs=True),
    Kill("relay", "relay"),
    Kill("Prefect server", "server"),
    Kill("PostgreSQL", "postgres"),
)

ALONE = (SEND, NOTE_TOLD, DELETE)
TOGETHER = tuple(step for step in ALL_STEPS if step not in ALONE)
"""As many as a run works on at the same time."""


@pytest.fixture(scope="module")
def fault(request: pytest.FixtureRequest) -> Kill:
    kill: Kill = request.param
    return kill


@pytest.fixture(scope="module")
def caught(system: FaultySystem, files: Dropper, fault: Kill) -> dict[Step, DroppedFile]:
    """The file that was at each step when the victim was killed, after everything has recovered."""
    at = {step: files.new(f"{fault.name} {step.name}") for step in ALL_STEPS}
    with ExitStack() as stack:
        holds = {step: stack.enter_context(system.proxy.holding(step.of(*at[step].words), fault.moment)) for step in at}
        for step in ALONE:
            files.drop(at[step])
            system.wait_until_announced(at[step].key)
        with system.arriving_together():
            for step in TOGETHER:
                files.drop(at[step])
        for held in holds.values():
            wait_for(held, system)
        if fault.part:
            system.kill_part(fault.part)
        if fault.runs:
            for held in holds.values():
                system.kill_caller(held)
    system.recover()
    return at


@pytest.mark.parametrize("step", ALL_STEPS, ids=lambda step: slug(step.name))
@pytest.mark.parametrize("fault", KILLS, ids=lambda kill: slug(kill.name), indirect=True, scope="module")
def test_a_file_is_loaded_once_although_a_process_was_killed_at(
    system: FaultySystem, caught: dict[Step, DroppedFile], fault: Kill, step: Step
) -> None:
    assert_nothing_lost_nothing_twice(system, [caught[step]], mails_at_most=fault.mails_at_most(step))


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
        wait_for(hold, system)
        hold.caller_is_dead = fault.part == "relay"
        assert fault.part
        system.kill_part(fault.part)
    system.recover()
    assert_nothing_lost_nothing_twice(system, [file], mails_at_most=1)


def wait_for(hold: Hold, system: FaultySystem) -> None:
    """Return when the step was reached."""
    assert hold.reached.wait(WITHIN_SECONDS), f"the step was never reached; {system.evidence()}"
