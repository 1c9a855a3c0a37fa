"""AWS, or the way there, misbehaves at each named step: there is a file for each, and the call that it makes is hit."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

import psutil
import pytest

from tests.faults.calls import Call
from tests.faults.dropped_files import Dropper, FileVersion, slug
from tests.faults.oracle import World, assert_nothing_lost_nothing_twice
from tests.faults.proxy import (
    FOR_EVER,
    Answer,
    ConnectionCutError,
    Effect,
    Forward,
    Rule,
    as_bytes,
    part_of_batch,
    refusal,
)
from tests.faults.steps import ALL_STEPS, EMAIL_STEPS, NOTE_SENT, SEND, WRITE, Step
from tests.faults.system import WITHIN_SECONDS, FaultySystem
from tests.support.waiting import eventually

SLOW_SECONDS: Final = 3.0
AWAY_SECONDS: Final = 6.0
"""Longer than a lease."""


@dataclass
class Outage:
    """Begins with a call, and takes every call that it is about for a time."""

    begins_with: Callable[[Call], bool]
    about: Callable[[Call], bool]
    begun: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def matches(self, call: Call) -> bool:
        with self.lock:
            if self.begun is None and self.begins_with(call):
                self.begun = time.monotonic()
            return self.begun is not None and not self.is_over() and self.about(call)

    def is_over(self) -> bool:
        return self.begun is not None and time.monotonic() > self.begun + AWAY_SECONDS


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, at which steps, and how often."""

    name: str
    effect: Effect
    steps: tuple[Step, ...] = ALL_STEPS
    times: int = 2
    until_the_run_gives_up: bool = False
    from_there_on: bool = False
    """Whether all further calls about the file are hit, too, for `AWAY_SECONDS`."""
    may_send_twice: tuple[Step, ...] = ()
    """Steps at which SES may have taken an email although nobody knows."""
    how: str = "AWS"


def refused(**errors: tuple[int, str]) -> Effect:
    """Each service says no in its own words; AWS does nothing."""
    return lambda call, _: refusal(call, *errors[call.service])


def half_unprocessed(call: Call, forward: Forward) -> Answer:
    part, left = part_of_batch(call)
    answer = forward(part)
    body = json.dumps(json.loads(answer.body) | {"UnprocessedItems": left}).encode()
    headers = tuple((name, value) for name, value in answer.headers if name.lower() != "x-amz-crc32")
    return Answer(answer.status, headers, body)


def reset_before(_call: Call, _forward: Forward) -> Answer:
    raise ConnectionCutError


def answer_lost(call: Call, forward: Forward) -> Answer:
    forward(call)
    raise ConnectionCutError


def reset_in_mid_answer(call: Call, forward: Forward) -> Answer:
    whole = as_bytes(forward(call), head_only=call.method == "HEAD")
    raise ConnectionCutError(whole[: len(whole) // 2])


def answered_slowly(call: Call, forward: Forward) -> Answer:
    threading.Event().wait(SLOW_SECONDS)
    return forward(call)


FAILS: Final = refused(
    s3=(500, "InternalError"), dynamodb=(500, "InternalServerError"), ses=(500, "InternalServiceErrorException")
)
THROTTLES: Final = refused(
    s3=(503, "SlowDown"),
    dynamodb=(400, "ProvisionedThroughputExceededException"),
    ses=(429, "TooManyRequestsException"),
)
EXPIRED: Final = refused(
    s3=(400, "ExpiredToken"), dynamodb=(400, "ExpiredTokenException"), ses=(403, "ExpiredTokenException")
)

TROUBLES = (
    Trouble("throttling, 503 SlowDown", THROTTLES),
    Trouble("500", FAILS),
    Trouble(
        "500 until the run gives up", FAILS, times=FOR_EVER, until_the_run_gives_up=True, may_send_twice=(NOTE_SENT,)
    ),
    Trouble("reset in mid-request", reset_before),
    Trouble("reset in mid-answer", reset_in_mid_answer, times=1, may_send_twice=(SEND,)),
    Trouble("answer lost", answer_lost, times=1, may_send_twice=(SEND,)),
    Trouble(f"unreachable for {AWAY_SECONDS:g} s", reset_before, times=FOR_EVER, from_there_on=True),
    Trouble("slow answers", answered_slowly),
    Trouble("expired token", EXPIRED, times=1),
)

UNPROCESSED = Trouble("unprocessed items", half_unprocessed, (WRITE,))


Hit = tuple[dict[Step, FileVersion], World]


@pytest.fixture(scope="module")
def fault(request: pytest.FixtureRequest) -> Trouble:
    trouble: Trouble = request.param
    return trouble


@pytest.fixture(scope="module")
def hit(system: FaultySystem, files: Dropper, fault: Trouble) -> Hit:
    """The file that was hit at each step, after everything has recovered, and what was there then."""
    at = {step: files.new(f"{fault.name} {step.name}") for step in fault.steps}
    with ExitStack() as stack:
        rules = {}
        for step, file in at.items():
            matches = step.of(*file.words)
            if fault.from_there_on:
                matches = Outage(matches, file.is_meant_by).matches
            rule = Rule(matches, fault.effect, fault.times, fault.name)
            rules[step] = stack.enter_context(system.proxy.rule(rule))
        for step in (step for step in EMAIL_STEPS if step in at):  # an email that files share is hit for all of them
            files.drop(at[step])
            system.wait_until_announced(at[step])
        with system.arriving_together():
            for step, file in at.items():
                if step not in EMAIL_STEPS:
                    files.drop(file)
        for step, rule in rules.items():
            wait_for(rule, step, system)
        if fault.until_the_run_gives_up:  # those that were hit; the files and emails get new ones all the while
            hit_runs = system.run_processes()
            eventually(lambda: not any(map(is_alive, hit_runs)), WITHIN_SECONDS, "the runs to give up")
    recover(system, list(at.values()), until_the_run_gives_up=fault.until_the_run_gives_up)
    return at, system.look()


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def recover(system: FaultySystem, files: list[FileVersion], *, until_the_run_gives_up: bool = False) -> None:
    """AWS may have misbehaved for longer than a load takes to be tried again at once: the pauses grow."""
    what = "AWS fails until the run gives up" if until_the_run_gives_up else "AWS misbehaves"
    system.recover(files, f"{what} ({system.settings.name})", WITHIN_SECONDS)


@pytest.mark.parametrize("step", ALL_STEPS, ids=lambda step: slug(step.name))
@pytest.mark.parametrize("fault", TROUBLES, ids=lambda trouble: slug(trouble.name), indirect=True, scope="module")
def test_a_file_is_loaded_once_although_aws_misbehaved_at(
    system: FaultySystem, hit: Hit, fault: Trouble, step: Step
) -> None:
    at_most = 2 if step in fault.may_send_twice else 1
    at, world = hit
    assert_nothing_lost_nothing_twice(system, [at[step]], mails_at_most=at_most, world=world)


@pytest.mark.parametrize("step", [WRITE], ids=lambda step: slug(step.name))
@pytest.mark.parametrize("fault", [UNPROCESSED], ids=lambda trouble: slug(trouble.name), indirect=True, scope="module")
def test_a_file_is_loaded_once_although_items_were_left_unprocessed_at(
    system: FaultySystem, hit: Hit, step: Step
) -> None:
    at, world = hit
    assert_nothing_lost_nothing_twice(system, [at[step]], mails_at_most=1, world=world)


# ---- AWS cannot be reached at all -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Away:
    name: str = f"all of AWS unreachable for {AWAY_SECONDS:g} s"
    how: str = "AWS"


@pytest.mark.parametrize("step", [WRITE, SEND], ids=lambda step: slug(step.name))
@pytest.mark.parametrize("fault", [Away()], ids=["unreachable"])
def test_a_file_is_loaded_once_although_nobody_could_reach_aws_from(
    system: FaultySystem, files: Dropper, fault: Away, step: Step
) -> None:
    file = files.new(f"{fault.name} {step.name}")
    outage = Outage(step.of(*file.words), lambda _: True)
    rule = Rule(outage.matches, reset_before, FOR_EVER, fault.name)
    with system.proxy.rule(rule):
        files.drop(file)
        wait_for(rule, step, system)
        eventually(outage.is_over, 60, "the outage to end")
    recover(system, [file])
    assert_nothing_lost_nothing_twice(system, [file], mails_at_most=1)


def wait_for(rule: Rule, step: Step, system: FaultySystem) -> None:
    eventually(lambda: rule.hits, WITHIN_SECONDS, f"{step.name} to be reached; {system.evidence()}")
