"""A load stands still at 12,000 of the 60,000 rows of its file until a newer version is loaded, and then goes on.

A stack of its own: every look at the table of the others would read these rows, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.faults.calls import Call
from tests.faults.dropped_files import Dropper, FileVersion
from tests.faults.oracle import assert_nothing_lost_nothing_twice
from tests.faults.recovery import Recovery
from tests.faults.settings import HASTY, LARGE_FILES, LARGE_FILES_IN_PROCESSES
from tests.faults.steps import WRITE
from tests.faults.system import WITHIN_SECONDS, FaultySystem, faulty_system

if TYPE_CHECKING:
    from tests.faults.processes import Stalled

ROWS: Final = 60_000
ROWS_BEFORE: Final = 12_000
ROWS_OF_A_BATCH: Final = 25
"""The most of BatchWriteItem."""
ROWS_ON_THEIR_WAY: Final = 2 * 128 * ROWS_OF_A_BATCH
"""More than 128 connections send at once: the proxy has seen them, some of them again, and the table has not yet."""

LEASE_SECONDS: Final = 15.0


@pytest.fixture(scope="module")
def own_system(said: list[str], recoveries: list[Recovery]) -> Iterator[FaultySystem]:
    with faulty_system(said.append, recoveries) as running:
        yield running


@pytest.fixture(scope="module")
def own_files(own_system: FaultySystem) -> Dropper:
    return Dropper(own_system, count(1))


@pytest.mark.parametrize("large_files", [LARGE_FILES, LARGE_FILES_IN_PROCESSES], ids=["threads", "processes"])
def test_the_newest_rows_stay_although_the_first_load_stood_still_in_the_middle_of_a_large_file(
    own_system: FaultySystem, own_files: Dropper, large_files: dict[str, Any]
) -> None:
    first = own_files.new(f"large {large_files['written_by']}", ROWS)
    newer = first.newer()
    stalled: Stalled | None = None
    with own_system.using(replace(HASTY, lease_seconds=LEASE_SECONDS, large_files=large_files)):
        with own_system.catching(writes_of(first), "before", ROWS_BEFORE // ROWS_OF_A_BATCH) as caught:
            own_files.drop(first)
            assert caught.hold.reached.wait(WITHIN_SECONDS), f"so many rows never came; {own_system.evidence()}"
            stalled = own_system.stall_runs([caught])
            try:
                written = len(own_system.all_readings()[first.sensor_prefix])
                own_files.drop(newer)
                own_system.wait_until_finished([newer])
            except BaseException:
                stalled.go_on()
                raise
        own_system.go_on(stalled, [caught])  # what was on its way arrives, after the rows of the newer version
        own_system.recover([newer], "SIGSTOP in the middle of a large file, short leases")
    assert ROWS_BEFORE - ROWS_ON_THEIR_WAY <= written < ROWS
    assert_nothing_lost_nothing_twice(own_system, [first, newer], mails_at_most=2)


def writes_of(version: FileVersion) -> Callable[[Call], bool]:
    """Whether a call writes rows of this version: the last decimals of a value are its number."""
    is_write, value_ends_with = WRITE.of(*version.words), f'.{version.revision:02d}"'
    return lambda call: is_write(call) and value_ends_with in call.text
