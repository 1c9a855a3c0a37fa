"""The virtual clock and what happens next on it; one random generator decides every order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from greenlet import getcurrent

from tests.simulation.trace import Trace

START = datetime(2026, 11, 28, 3, tzinfo=UTC)
"""The true time at which every simulation starts."""

Action = Callable[..., object]


class Scheduler:
    """Runs actions in the order of their times on a virtual clock; equal times are ordered by the seed.

    All that is random in a simulation comes from `random`, so a seed repeats it exactly.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        """Seconds of true time since `START`."""
        self.trace = Trace()
        self.hub: Any = getcurrent()
        """The greenlet that runs the actions; all others return to it when they wait."""
        self._queue: list[tuple[float, float, int, Action, tuple[Any, ...]]] = []
        self._number = count()

    @property
    def true_time(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def at(self, time: float, action: Action, *values: Any) -> None:  # noqa: ANN401 - arguments of the action
        """Run the action at that time, in seconds since `START`; a past time means now."""
        due = max(time, self.now)
        heappush(self._queue, (due, self.random.random(), next(self._number), action, values))

    def later(self, seconds: float, action: Action, *values: Any) -> None:  # noqa: ANN401 - as above
        """Run the action after that time."""
        self.at(self.now + seconds, action, *values)

    def run(self, until: float = float("inf"), *, ended: Callable[[], bool] | None = None) -> None:
        """Run what is due up to that time, or until nothing is left or the simulation has ended.

        An error of an action is an error of the simulation; those of simulated processes are kept by the processes.
        """
        queue = self._queue
        while queue and queue[0][0] <= until:
            if ended and ended():
                return
            self.now, _, _, action, values = heappop(queue)
            action(*values)
        if until != float("inf"):
            self.now = max(self.now, until)

    def log(self, who: str, what: Callable[..., str] | str, *values: Any) -> None:  # noqa: ANN401 - values of a step
        """Add a step to the trace, at the time it is."""
        self.trace.add(self.now, who, what, *values)
