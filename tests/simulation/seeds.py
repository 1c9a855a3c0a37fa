"""Runs one scenario with many seeds, on all processors; a seed that fails shows its trace.

python -m tests.simulation.seeds MODULE:FUNCTION FIRST LAST
"""

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module

from tests.simulation.world import World

Scenario = Callable[[World], None]
"""Sets up a world, runs it, and asserts what must be true at its end."""

SEED = "SEED"
"""Environment variable with the one seed to run."""

_COLLECT_EVERY = 50
_SEEDS_OF_A_PROCESS = 2000
"""Threads of killed processes stay in memory, and each collection looks through them."""


class SeedFailedError(AssertionError):
    """A scenario failed with a seed; the message has the trace."""


def check(scenario: Scenario, seeds: Iterable[int]) -> None:
    """Run the scenario with each seed, or with the one that the environment names.

    Raises:
        SeedFailedError: one failed; the others after it were not run.
    """
    chosen = [int(os.environ[SEED])] if SEED in os.environ else list(seeds)
    # Worlds are full of circles, and the collector would go through all modules to find a few of them.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for number, seed in enumerate(chosen, start=1):
            check_one(scenario, seed)
            if number % _COLLECT_EVERY == 0:
                gc.collect()
                gc.freeze()  # what is left, such as threads of killed processes, is not looked through again
    finally:
        gc.enable()
        gc.unfreeze()


def check_one(scenario: Scenario, seed: int) -> None:
    """Run the scenario with one seed.

    Raises:
        SeedFailedError: it failed.
    """
    world = World(seed)
    try:
        with world:
            scenario(world)
    except Exception as error:
        text = f"{type(error).__name__}: {error}\n\n{world.trace}\n\n{type(error).__name__}: {error}"
        raise SeedFailedError(f"{SEED}={seed} repeats this: {text}") from error


def check_in_parallel(scenario: str, seeds: range, processes: int = 2) -> None:
    """Run the scenario (MODULE:FUNCTION) with all seeds, shared among processes; with `SEED`, that one here.

    Raises:
        SeedFailedError: at least one failed.
    """
    if SEED in os.environ:
        check(_found(scenario), ())
        return
    size = min(-(-len(seeds) // processes), _SEEDS_OF_A_PROCESS)
    parts = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    with ThreadPoolExecutor(processes) as pool:
        for ended in as_completed([pool.submit(_failure, scenario, part) for part in parts]):
            if failure := ended.result():
                pool.shutdown(wait=False, cancel_futures=True)
                raise SeedFailedError(failure)


def _failure(scenario: str, seeds: range) -> str:
    """What failed, with its trace, in a process that runs these seeds; empty if they all passed."""
    command = [sys.executable, "-m", __name__, scenario, str(seeds[0]), str(seeds[-1])]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        return ended.stdout or f"it ended with {ended.returncode}"
    sys.stderr.write(f"seeds {seeds[0]:,} to {seeds[-1]:,} passed\n")
    return ""


def main(scenario: str, first: str, last: str) -> int:
    """The exit code: 1 if a seed failed, with its trace on standard output."""
    logging.disable(logging.WARNING)  # the trace has it all, and formatting takes a tenth of the time
    try:
        check(_found(scenario), range(int(first), int(last) + 1))
    except SeedFailedError as error:
        print(error)  # noqa: T201 - the process that started this one shows it
        return 1
    return 0


def _found(scenario: str) -> Scenario:
    module, _, name = scenario.partition(":")
    found: Scenario = getattr(import_module(module), name)
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
