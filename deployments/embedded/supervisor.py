"""Keeps the parts of a stack running: a part that dies is started again, and all are stopped in reverse order."""

import threading
import time
from collections.abc import Callable
from typing import Final

from deployments.embedded.parts import Part, PartProcess, StackStopping, how_it_ended

Say = Callable[[str], None]

_PAUSES_SECONDS: Final = (0.2, 0.5, 2, 5, 10, 30)
"""Before a part that ran steadily is started again, and before each further try; the last one again and again."""
_STEADY_SECONDS: Final = 60
"""A part that ran for so long is not one that keeps dying."""


class SupervisedPart:
    """A part, and whichever process it is at the moment."""

    def __init__(
        self, part: Part, say: Say, stopping: threading.Event, on_start: Callable[[PartProcess], None] = lambda _: None
    ) -> None:
        self.part: Final = part
        self._say = say
        self._stopping = stopping
        self._on_start = on_start
        self._lock = threading.Lock()
        self._process: PartProcess
        self._start()

    def wait_until_ready(self) -> None:
        """Return when the part does its work; raises as `PartProcess.wait_until_ready` does."""
        self._process.wait_until_ready(self._stopping)

    def restart(self) -> None:
        """Stop it in good order and start it again; raises as `PartProcess.wait_until_ready` does."""
        self._process.stop(self._stopping)
        self._start()
        self.wait_until_ready()

    def watch(self, after_restart: Callable[[], object] = lambda: None) -> None:
        """From now on, start it again whenever it dies, and then call `after_restart`."""
        threading.Thread(target=self._watch, args=(after_restart,), name=f"watch {self.part.name}", daemon=True).start()

    def stop(self, hurry: threading.Event) -> None:
        """End it in good order. That the stack is stopping was said before, so nothing starts it again."""
        with self._lock:
            self._process.stop(hurry)
        self.part.after_stop()

    def _start(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                raise StackStopping
            self._process = self.part.start()
            self._on_start(self._process)

    def _watch(self, after_restart: Callable[[], object]) -> None:
        deaths = 0
        while True:
            returncode = self._process.popen.wait()
            if self._stopping.is_set():
                return
            deaths = 0 if time.time() - self._process.started.at > _STEADY_SECONDS else deaths + 1
            pause = _PAUSES_SECONDS[min(deaths, len(_PAUSES_SECONDS) - 1)]
            ended = how_it_ended(returncode)
            self._say(f"{self.part.title} {ended}; starting it again in {pause:g} s (its log: {self.part.log})")
            if self._stopping.wait(pause):
                return
            self._come_back(after_restart)

    def _come_back(self, after_restart: Callable[[], object]) -> None:
        try:
            self._start()
            self.wait_until_ready()
            after_restart()
        except StackStopping:
            return
        except Exception as error:  # noqa: BLE001 - whatever kept it from coming back is said, and then tried again
            self._say(str(error))
            self._process.kill()
        else:
            self._say(f"{self.part.title} runs again")


class Supervisor:
    """All parts of a stack, in the order in which they were started."""

    def __init__(self, say: Say, on_start: Callable[[PartProcess], None]) -> None:
        self._say = say
        self._on_start = on_start
        self._parts: list[SupervisedPart] = []
        self._stopping = threading.Event()

    def launch(self, part: Part) -> SupervisedPart:
        """The part, whose first process was started, and is stopped by `stop` if not before.

        Raises:
            StackStopping: the stack is being stopped.
        """
        supervised = SupervisedPart(part, self._say, self._stopping, self._on_start)
        self._parts.append(supervised)
        return supervised

    def give_up(self) -> None:
        """Have everything that is still being started, or waited for, end in StackStopping."""
        self._stopping.set()

    def stop(self, hurry: threading.Event, after_each: Callable[[], None]) -> None:
        """Stop all parts in good order, the last one first; by force once somebody is in a hurry."""
        self.give_up()
        for part in reversed(self._parts):
            part.stop(hurry)
            after_each()
