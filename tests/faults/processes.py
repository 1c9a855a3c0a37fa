"""Processes that are killed, or stand still for a while as on a machine that is suspended or swaps."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.support.waiting import eventually


def kill(process: psutil.Process) -> None:
    """`kill -9`, and it is gone when this returns, or waits for its parent to notice."""
    process.kill()
    eventually(
        lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10, "a killed process to end"
    )


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """`kill -9` of these processes and of those that they started."""
    for process in [each for root in processes for each in with_children(root)]:
        with suppress(psutil.NoSuchProcess):
            kill(process)


def with_children(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it has started, as far as they run."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


@dataclass(frozen=True)
class Stalled:
    """Processes that stand still."""

    processes: tuple[psutil.Process, ...]

    def go_on(self) -> None:
        """SIGCONT to those that have not been killed meanwhile."""
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def stall(processes: Iterable[psutil.Process]) -> Stalled:
    """SIGSTOP to these processes and to those that they started, parents first: what stands still starts nothing."""
    roots, stopped = list(processes), dict[int, psutil.Process]()
    while new := [each for root in roots for each in with_children(root) if each.pid not in stopped]:
        for process in new:
            stopped[process.pid] = process
            with suppress(psutil.NoSuchProcess):
                process.suspend()
    return Stalled(tuple(stopped.values()))
