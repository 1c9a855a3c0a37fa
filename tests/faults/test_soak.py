"""Twenty minutes of files that keep coming, also in newer versions, while something is killed or stalls."""

import random
import secrets
from typing import Final

import pytest

from tests.faults.dropped_files import Dropper, newest_of_each
from tests.faults.oracle import assert_nothing_lost_nothing_twice
from tests.faults.random_faults import KILLS, STALLS, RandomFaults, say
from tests.faults.system import FaultySystem

BACKLOG_SECONDS: Final = 900
"""What has piled up while everything kept dying may be hundreds of files and emails, two of which go at a time."""

NEWER_SHARE: Final = 0.3


def test_nothing_is_lost_and_nothing_loaded_twice_under_random_kills_and_stalls(
    system: FaultySystem, files: Dropper, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = pytestconfig.getoption("--seed") or secrets.randbelow(10**6)
    minutes = float(pytestconfig.getoption("--minutes"))
    faults = RandomFaults(
        system,
        files,
        random.Random(seed),  # noqa: S311 - to be repeated, not to be secret
        (*KILLS, *STALLS),
        NEWER_SHARE,
    )
    with capsys.disabled():
        say(f"\nsoak of {minutes:g} minutes, seed {seed} (repeat with --seed {seed})")
        faults.run(minutes * 60)
        newest = newest_of_each(faults.dropped)
        say(f"{len(faults.dropped)} versions of {len(newest)} files dropped; {dict(faults.done)}")
        recovery = system.recover(newest, f"soak of {minutes:g} minutes", BACKLOG_SECONDS)
        say(f"last file loaded after {max(recovery.loaded.values()):.0f} s")
        assert_nothing_lost_nothing_twice(system, faults.dropped, mails_at_most=faults.mails_at_most)
        say(f"the same without a sweep and with one: {system.sweep_once()}")
        system.wait_until_quiet(BACKLOG_SECONDS)
    assert_nothing_lost_nothing_twice(system, faults.dropped, mails_at_most=faults.mails_at_most)
