"""The simulation is strong: it finds the overwrite that version 0.1 allowed, within a few seeds.

How many seeds it needs to find that a protection of this version is missing, `strength.py` says.
"""

import re
from collections.abc import Iterator

from tests.simulation.ledger_of_0_1 import SENSORS, overwrite
from tests.simulation.seeds import SeedFailedError, check_one

SEEDS = 100


def failures() -> Iterator[str]:
    for seed in range(SEEDS):
        try:
            check_one(overwrite, seed)
        except SeedFailedError as error:
            yield str(error)


def test_the_overwrite_that_the_ledger_of_0_1_allowed_is_found() -> None:
    """A run that stalled while it wrote goes on, over the rows of the newer version that was archived meanwhile."""
    for trace in failures():
        found = re.search(rf"(\d) of {SENSORS} rows are of the older version", trace)
        if found and int(found[1]) > SENSORS / 2 and " stalls for " in trace:
            return
    raise AssertionError(f"{SEEDS} seeds show no overwrite of most rows after a stall")
