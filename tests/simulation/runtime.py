"""What the product asks of the machine it runs on, answered by the simulation: clocks, waits, ids, threads, events."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from tests.simulation.processes import Flag, Process, Thread, current_thread, running_thread
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
        thread = current_thread()
        return thread.process.monotonic() if thread else self.scheduler.now

    def utc_now(self) -> datetime:
        """The time by the process's wall clock, which may be minutes off; true time for the test itself."""
        thread = current_thread()
        return thread.process.utc_now() if thread else self.scheduler.true_time

    def sleep(self, seconds: float) -> None:
        running_thread().sleep(seconds)

    def uniform(self, low: float, high: float) -> float:
        return self.scheduler.random.uniform(low, high)

    def unique_id(self) -> str:
        return UUID(int=self.scheduler.random.getrandbits(128), version=4).hex

    def flow_run_id(self) -> str:
        """The property `flow_run_id` of the process; empty if it has none."""
        thread = current_thread()
        return str(thread.process.properties.get("flow_run_id", "")) if thread else ""

    def log(self) -> logging.Logger:
        """A logger whose messages are steps of the trace."""
        return _TraceLogger(self.scheduler, str(current_thread() or "test"))

    def emit(self, event: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> None:
        """Record a Prefect event. It is sent in the background, so a process that ends soon may not have sent it."""
        process = running_process()
        self.events.append(Event(self.scheduler.now, process.name, event, resource, payload))
        self.scheduler.log(process.name, "emits {} of {}".format, event, resource.get("prefect.resource.id", ""))

    def event(self) -> Flag:
        """What stands for a `threading.Event`."""
        return Flag(self.scheduler)

    @contextmanager
    def repeated(self, action: Callable[[], bool], every_seconds: float, name: str) -> Iterator[None]:
        """While the block lasts, call the action in another thread at this interval, until it returns False."""
        ended = Flag(self.scheduler)

        def repeat() -> None:
            while not ended.wait(every_seconds) and action():
                pass

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
