"""Twenty minutes of files that keep coming, while something is killed every few seconds."""

import logging
import random
import secrets
import sys
import time
from contextlib import suppress
from typing import Final

import psutil
import pytest

from tests.faults.oracle import DroppedFile, Dropper, assert_nothing_lost_nothing_twice
from tests.faults.system import FaultySystem, kill

BETWEEN_KILLS_SECONDS: Final = (5.0, 15.0)
BETWEEN_DROPS_SECONDS: Final = 2.0
VICTIMS: Final = ("run", "run", "worker", "relay", "server", "postgres")
SWEEPS_AT_MOST: Final = 5
"""What died twice may need a second sweep: the first one begins what then is checked."""

BACKLOG_SECONDS: Final = 900
"""What has piled up while everything kept dying may be hundreds of files and emails, two of which go at a time."""

log = logging.getLogger(__name__)


def test_nothing_is_lost_and_nothing_loaded_twice_under_random_kills(
    system: FaultySystem, files: Dropper, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = pytestconfig.getoption("--seed") or secrets.randbelow(10**6)
    minutes = float(pytestconfig.getoption("--minutes"))
    with capsys.disabled():
        say(f"\nsoak of {minutes:g} minutes, seed {seed} (repeat with --seed {seed})")
        dropped, kills = drop_and_kill(system, files, random.Random(seed), minutes * 60)  # noqa: S311 - to be repeated, not to be secret
        say(f"{len(dropped)} files dropped, killed: {kills}")
        sweeps = recover(system)
        say(f"recovered after {sweeps} sweep(s)")
    # A process may have died between SES taking an email and the note of it, any number of times.
    assert_nothing_lost_nothing_twice(system, dropped, mails_at_most=1 + sum(kills.values()))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def drop_and_kill(
    system: FaultySystem, files: Dropper, chance: random.Random, seconds: float
) -> tuple[list[DroppedFile], dict[str, int]]:
    """What was dropped, and how often each victim was killed."""
    dropped: list[DroppedFile] = []
    kills = dict.fromkeys(VICTIMS, 0)
    end = time.monotonic() + seconds
    next_kill = time.monotonic() + chance.uniform(*BETWEEN_KILLS_SECONDS)
    while time.monotonic() < end:
        dropped.append(files.new("soak", good_rows=chance.choice((1, 40, 400))))
        files.drop(dropped[-1])
        if time.monotonic() > next_kill:
            victim = chance.choice(VICTIMS)
            if kill_one(system, victim, chance):
                kills[victim] += 1
            next_kill = time.monotonic() + chance.uniform(*BETWEEN_KILLS_SECONDS)
        time.sleep(BETWEEN_DROPS_SECONDS)  # the pace of the drop, which nothing waits for
    return dropped, kills


def kill_one(system: FaultySystem, victim: str, chance: random.Random) -> bool:
    """Whether there was such a process: parts may be down from the last time."""
    with suppress(psutil.Error):
        if victim != "run":
            system.kill_part(victim)
            return True
        runs = system.run_processes()
        if runs:
            kill(chance.choice(runs))
            return True
    return False


def recover(system: FaultySystem) -> int:
    """The number of sweeps after which nothing was left to take up."""
    for sweeps in range(1, SWEEPS_AT_MOST + 1):
        report = system.recover(BACKLOG_SECONDS)
        if not any((report.crashed, report.announced, report.resumed, report.notification)):
            return sweeps
    raise AssertionError(f"sweeps still find something after {SWEEPS_AT_MOST}; {system.evidence()}")
