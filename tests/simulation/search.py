"""Looks for the first seed that fails, in one of several processes that share the seeds.

A seed that fails becomes a file of that name in the folder, with what failed. A process ends when an earlier seed than
its next one has failed.
"""

import gc
import logging
import os
import signal
from pathlib import Path
from typing import Final

from tests.simulation.seeds import SeedFailedError, check_one
from tests.simulation.story import ownership

SECONDS_A_SEED: Final = 30
"""Of the processor. A story takes a tenth of one; without some protections, a run tries the same again and again."""

_COLLECT_EVERY: Final = 50


def search(seeds: range, results: Path) -> None:
    """Run the seeds until one fails, here or, with an earlier seed, in another process."""
    logging.disable(logging.WARNING)
    gc.collect()
    gc.freeze()
    gc.disable()
    for number, seed in enumerate(seeds, start=1):
        if any(int(each.name) < seed for each in results.iterdir()):
            return
        signal.signal(signal.SIGPROF, lambda *_, seed=seed: _end(seed, results))
        signal.setitimer(signal.ITIMER_PROF, SECONDS_A_SEED)
        try:
            check_one(ownership, seed)
        except SeedFailedError as error:
            (results / str(seed)).write_text(str(error).splitlines()[-1], encoding="utf-8")
            return
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if number % _COLLECT_EVERY == 0:
            gc.collect()


def _end(seed: int, results: Path) -> None:
    (results / str(seed)).write_text("the story does not end", encoding="utf-8")
    os._exit(0)
