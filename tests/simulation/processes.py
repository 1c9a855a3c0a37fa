"""Simulated processes and their threads: greenlets that run the real code and wait on the virtual clock."""

from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any

from greenlet import getcurrent, greenlet

from tests.simulation.scheduler import Scheduler

MOST_SKEW_SECONDS = 290.0
"""Almost the five minutes that AWS allows a signature to be off, which the latency of a call must fit into, too."""

CALLS_AFTER_THE_END = 50
"""A thread of a killed process that asks for more than that never gets an answer: it would not end by itself."""


class KilledError(BaseException):
    """Ends a thread of a killed process; raised again by whatever simulated call its `finally` blocks make."""


class Thread:
    """A thread of a simulated process."""

    def __init__(self, process: "Process", name: str, function: Callable[[], object]) -> None:
        self.process = process
        self.name = name
        self.result: object = None
        self.error: BaseException | None = None
        self.done = Flag(process.scheduler)
        self._function = function
        self._ticket = 0
        self._greenlet: Any = greenlet(self._run, process.scheduler.hub)
        self._greenlet.gr_context = copy_context()
        self._greenlet.simulated_thread = self
        process.scheduler.later(0, self._resume, None)

    def __str__(self) -> str:
        return f"{self.process.name}.{self.name}" if self.name != "main" else self.process.name

    def sleep(self, seconds: float) -> None:
        """Wait that long on the virtual clock; a stalled process waits until its stall ends."""
        self.process.scheduler.later(seconds, self.wake, self.ticket())
        self.wait()

    def ticket(self) -> int:
        """What `wake` needs to end the next wait; it works once."""
        self.process.check()
        return self._ticket

    def wait(self) -> Any:  # noqa: ANN401 - whatever it is woken with
        """What the thread is woken with. Take the ticket before."""
        return self.process.scheduler.hub.switch()

    def wake(self, ticket: int, value: object = None) -> None:
        """End the wait that the ticket is for; without effect if it has ended. Only the scheduler calls it."""
        if ticket == self._ticket:
            self._ticket += 1
            self._resume(value)

    def end(self) -> None:
        """Unwind the thread of a killed process."""
        if self._greenlet:  # it has started and has not ended
            self._greenlet.throw(KilledError())
        self.done.set()

    def _resume(self, value: object) -> None:
        process = self.process
        if process.ended:
            return
        if process.stalled_until > process.scheduler.now:
            process.scheduler.at(process.stalled_until, self._resume, value)
        else:
            self._greenlet.switch(value)

    def _run(self, _: object) -> None:
        try:
            self.result = self._function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a thread ends with any error, as real ones do
            self.error = error
        if not self.process.ended:
            self.process.thread_ended(self)


class Process:
    """A simulated process: threads, a wall clock that may be wrong, and a monotonic clock.

    It ends when its main thread ends, is killed, or `exit` is called; its other threads end with it.
    """

    def __init__(
        self, scheduler: Scheduler, name: str, function: Callable[[], object], *, skew: float = 0, faults: bool = True
    ) -> None:
        self.scheduler = scheduler
        self.name = name
        self.skew = skew
        """Seconds that its wall clock is ahead of true time."""
        self.faults = faults
        """Whether the network may kill and stall it."""
        self.started_at = scheduler.true_time
        self.stalled_until = 0.0
        self.faults_met = 0
        """How often something went wrong with its calls, or with itself."""
        self.disturbed_until = 0.0
        """Until when its calls may take longer than usual, for what has gone wrong with one of them or with itself."""
        self.ended = ""
        """How it ended: `finished`, `failed` or `killed`; empty while it runs."""
        self.properties: dict[str, Any] = {}
        """What a test wants to know of it, for example its flow run id."""
        self.threads: list[Thread] = []
        self._on_end: list[Callable[[Process], object]] = []
        self._calls_after_end = 0
        self._clock_base = scheduler.random.uniform(0, 1e6) - scheduler.now
        scheduler.log(name, "starts, clock off by {:+.0f} s".format, skew)
        self.main = self.spawn("main", function)

    @property
    def error(self) -> BaseException | None:
        """The error that escaped from its main thread."""
        return self.main.error if self.ended != "killed" else None

    def spawn(self, name: str, function: Callable[[], object]) -> Thread:
        """A thread that starts at once, in the context of the caller."""
        thread = Thread(self, name, function)
        self.threads.append(thread)
        return thread

    def monotonic(self) -> float:
        """Seconds of a clock that no skew affects; each process has another zero."""
        return self._clock_base + self.scheduler.now

    def utc_now(self) -> datetime:
        """The time by its wall clock."""
        return self.scheduler.true_time + timedelta(seconds=self.skew)

    def stall(self, seconds: float, *, suspended: bool = False) -> None:
        """Freeze all threads for that time.

        Args:
            seconds: how long.
            suspended: the whole machine stands still, as in a suspended virtual machine: its monotonic clock, too.
                Source: CLOCK_MONOTONIC, clock_gettime(2), "does not count time that the system is suspended".
        """
        until = self.scheduler.now + seconds
        self.disturbed(until)
        if until > self.stalled_until:
            if suspended:
                self._clock_base -= until - max(self.stalled_until, self.scheduler.now)
            self.stalled_until = until
            self.scheduler.log(self.name, "{} for {:.1f} s".format, "suspended" if suspended else "stalls", seconds)

    def disturbed(self, until: float) -> None:
        """Note that something went wrong, which may slow it down until then."""
        self.faults_met += 1
        self.disturbed_until = max(self.disturbed_until, until)

    def kill(self) -> None:
        """End it as SIGKILL does: none of its threads does anything from now on."""
        self.faults_met += 1
        if current_thread() is None:
            self._end("killed")
        else:
            self.scheduler.later(0, self._end, "killed")

    def on_end(self, action: "Callable[[Process], object]") -> None:
        """Call the action with the process when it has ended."""
        self._on_end.append(action)

    def check(self) -> None:
        """Raise if the process has ended: what its threads still run are `except` and `finally` blocks.

        Raises:
            KilledError: it has.
        """
        if not self.ended:
            return
        self._calls_after_end += 1
        if self._calls_after_end > CALLS_AFTER_THE_END:
            self.scheduler.hub.switch()
        raise KilledError

    def thread_ended(self, thread: Thread) -> None:
        """Note the end of a thread; the process ends with its main thread."""
        if thread.error:
            self.scheduler.log(str(thread), "ends with {!r}".format, thread.error)
        self.threads.remove(thread)
        thread.done.set()
        if thread is self.main:
            self.scheduler.later(0, self._end, "failed" if thread.error else "finished")

    def end_quietly(self) -> None:
        """End it at the end of the simulation, so that nothing of it stays in memory."""
        self._on_end.clear()
        self._end("left")

    def _end(self, how: str) -> None:
        if self.ended:
            return
        self.ended = how
        self.scheduler.log(self.name, how)
        for thread in self.threads:
            thread.end()
        self.threads.clear()
        for action in self._on_end:
            action(self)


class Flag:
    """An event that threads wait for, as `threading.Event`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False
        self._waiting: list[tuple[Thread, int]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for thread, ticket in waiting:
            self._scheduler.later(0, thread.wake, ticket, True)  # noqa: FBT003 - the value that `wait` returns

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the flag is set within that time."""
        thread = running_thread()
        ticket = thread.ticket()
        if self._set:
            return True
        self._waiting.append((thread, ticket))
        if timeout is not None:
            self._scheduler.later(timeout, thread.wake, ticket, False)  # noqa: FBT003 - as above
        return bool(thread.wait())


def current_thread() -> Thread | None:
    """The simulated thread that runs; None for the test itself and for the scheduler's actions."""
    return getattr(getcurrent(), "simulated_thread", None)


def running_thread() -> Thread:
    """The simulated thread that runs.

    Raises:
        RuntimeError: none does.
    """
    thread = current_thread()
    if thread is None:
        raise RuntimeError("only a simulated process can wait on the virtual clock")
    return thread
