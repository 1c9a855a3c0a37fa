"""What the product asks of the machine it runs on, answered by the simulation: clocks, waits, ids, threads, events."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from tests.simulation.processes import Flag, Process, Thread, running_thread
from tests.simulation.scheduler import Scheduler

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Event:
    """A Prefect event that a process emitted."""

    at: float
    process: str
    name: str
    resource: Mapping[str, str]
    payload: Mapping[str, Any]


@dataclass
class SimulatedRuntime:
    """One for all processes of a simulation: it answers for the process that asks."""

    scheduler: Scheduler
    events: list[Event] = field(default_factory=list)

    def monotonic(self) -> float:
        return running_process().monotonic()

    def utc_now(self) -> datetime:
        """The time by the process's wall clock, which may be minutes off."""
        return running_process().utc_now()

    def sleep(self, seconds: float) -> None:
        running_thread().sleep(seconds)

    def uniform(self, low: float, high: float) -> float:
        return self.scheduler.random.uniform(low, high)

    def unique_id(self) -> str:
        return str(UUID(int=self.scheduler.random.getrandbits(128), version=4))

    def flow_run_id(self) -> str | None:
        """The property `flow_run_id` of the process."""
        return running_process().properties.get("flow_run_id")

    def log(self) -> logging.Logger:
        """A logger whose messages are steps of the trace."""
        return _TraceLogger(self.scheduler, str(running_thread()))

    def emit_event(self, event: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> None:
        """Record a Prefect event; emitting is no call that can fail, as Prefect sends events in the background."""
        process = running_process()
        process.check()
        self.events.append(Event(self.scheduler.now, process.name, event, resource, payload))
        self.scheduler.log(process.name, "emits {} of {}".format, event, resource.get("prefect.resource.id", ""))

    def event(self) -> Flag:
        """What stands for a `threading.Event`."""
        return Flag(self.scheduler)

    @contextmanager
    def repeated(self, action: Callable[[], object], seconds: float, name: str = "repeated") -> Iterator[None]:
        """Call the action every so many seconds, in a thread of its own, until the block ends or it returns False."""
        ended = Flag(self.scheduler)

        def repeat() -> None:
            while not ended.wait(seconds):
                if action() is False:
                    return

        thread = self.spawn(name, repeat)
        try:
            yield
        finally:
            ended.set()
            thread.done.wait()

    def spawn(self, name: str, function: Callable[[], object]) -> Thread:
        """A thread of the process that asks."""
        return running_process().spawn(name, function)

    def mapped(self, function: Callable[[T], R], items: Iterable[T], workers: int) -> list[R]:
        return mapped(function, items, workers)


def running_process() -> Process:
    """The simulated process that runs.

    Raises:
        KilledError: it was killed.
    """
    process = running_thread().process
    process.check()
    return process


def mapped(function: Callable[[T], R], items: Iterable[T], workers: int) -> list[R]:
    """The results in the order of the items, from that many threads; all have ended when it returns.

    Raises:
        BaseException: the first error, in the order of the items, as `ThreadPoolExecutor.map` raises it.
    """
    process = running_process()
    waiting = list(enumerate(items))
    waiting.reverse()
    results: dict[int, R] = {}
    errors: dict[int, BaseException] = {}

    def work() -> None:
        while waiting:
            number, item = waiting.pop()
            try:
                results[number] = function(item)
            except Exception as error:  # noqa: BLE001 - raised again by the caller
                errors[number] = error

    threads = [process.spawn(f"pool-{number}", work) for number in range(min(workers, len(waiting)))]
    for thread in threads:
        thread.done.wait()
    if errors:
        raise errors[min(errors)]
    return [results[number] for number in range(len(results))]


class _TraceLogger(logging.Logger):
    """A logger that is known to nobody else."""

    def __init__(self, scheduler: Scheduler, who: str) -> None:
        super().__init__(who, logging.INFO)
        self._scheduler = scheduler

    def handle(self, record: logging.LogRecord) -> None:
        self._scheduler.log(self.name, "{}: {}".format, record.levelname, record.getMessage())
