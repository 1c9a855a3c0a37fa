"""Who owns a file: many seeds, each with files and newer versions of them, and with everything failing for a while.

`make simulate SEEDS=100000` runs more of them, `make simulate SEED=n` shows one.
"""

import os

from tests.simulation.seeds import check_in_parallel

SEEDS = int(os.environ.get("SEEDS", "2000"))


def test_every_seed_ends_with_the_newest_rows_and_one_email_about_each_version() -> None:
    check_in_parallel("tests.simulation.story:ownership", range(SEEDS), processes=os.cpu_count() or 1)
