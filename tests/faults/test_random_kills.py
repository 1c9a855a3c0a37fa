"""Four minutes of random kills under a steady drop, then everything up again; ten minutes later nothing is left."""

import random
import secrets
from typing import Final

import pytest

from tests.faults.dropped_files import Dropper, newest_of_each
from tests.faults.oracle import assert_nothing_lost_nothing_twice
from tests.faults.random_faults import RandomFaults, say
from tests.faults.settings import AS_INSTALLED
from tests.faults.system import FaultySystem

MINUTES: Final = 4
NOTHING_LEFT_AFTER_SECONDS: Final = 600.0


@pytest.mark.long
def test_ten_minutes_after_random_kills_nothing_is_left(
    system: FaultySystem, files: Dropper, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = pytestconfig.getoption("--seed") or secrets.randbelow(10**6)
    faults = RandomFaults(system, files, random.Random(seed))  # noqa: S311 - to be repeated, not to be secret
    with capsys.disabled(), system.using(AS_INSTALLED):
        say(f"\nrandom kills for {MINUTES} minutes, seed {seed} (repeat with --seed {seed})")
        faults.run(MINUTES * 60)
        say(f"{len(faults.dropped)} files dropped; {dict(faults.done)}")
        group = f"random kills for {MINUTES} minutes, {AS_INSTALLED.name}"
        recovery = system.recover(newest_of_each(faults.dropped), group, NOTHING_LEFT_AFTER_SECONDS)
    for file in newest_of_each(faults.dropped):
        recovery.assert_in_time(file, NOTHING_LEFT_AFTER_SECONDS)
    assert_nothing_lost_nothing_twice(system, faults.dropped, mails_at_most=faults.mails_at_most)
