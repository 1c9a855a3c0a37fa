"""Restarts parts that die, and stops all parts in reverse order."""

import threading
import time
from collections.abc import Callable
from typing import Final

from deployments.embedded.parts import Log, Part, PartProcess, StackStopping, describe_exit

_BACK_OFF_SECONDS: Final = (0.2, 0.5, 2, 5, 10, 30)
"""Wait before a part is restarted, by the number of restarts in a row; the last value repeats."""
_STABLE_SECONDS: Final = 60
"""A part that ran this long starts again at the first back-off."""


class SupervisedPart:
    """A part and its current process."""

    def __init__(
        self, part: Part, log: Log, stopping: threading.Event, on_start: Callable[[PartProcess], None]
    ) -> None:
        self.part: Final = part
        self._log = log
        self._stopping = stopping
        self._on_start = on_start
        self._lock = threading.Lock()
        self._process: PartProcess
        self._start()

    def wait_until_ready(self) -> None:
        """Return when the part is ready; raises as `PartProcess.wait_until_ready` does."""
        self._process.wait_until_ready(self._stopping)

    def restart(self) -> None:
        """Stop the part cleanly and start it again; raises as `PartProcess.wait_until_ready` does."""
        self._process.stop(self._stopping)
        self._start()
        self.wait_until_ready()

    def watch(self, after_restart: Callable[[], object] = lambda: None) -> None:
        """From now on restart the part when it dies, and call `after_restart` once it is ready."""
        threading.Thread(target=self._watch, args=(after_restart,), name=f"watch {self.part.name}", daemon=True).start()

    def stop(self, force: threading.Event) -> None:
        """Stop the part cleanly; the stopping event is already set, so no thread restarts it."""
        with self._lock:
            self._process.stop(force)
        self.part.after_stop()

    def _start(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                raise StackStopping
            self._process = self.part.start()
            self._on_start(self._process)

    def _watch(self, after_restart: Callable[[], object]) -> None:
        failures = 0
        while True:
            returncode = self._process.popen.wait()
            if self._stopping.is_set():
                return
            failures = 0 if time.time() - self._process.started_at > _STABLE_SECONDS else failures + 1
            wait = _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
            self._log(
                f"{self.part.title} {describe_exit(returncode)}; restarting it in {wait:g} s "
                f"(its log: {self.part.log_file})"
            )
            if self._stopping.wait(wait):
                return
            self._try_restart(after_restart)

    def _try_restart(self, after_restart: Callable[[], object]) -> None:
        try:
            self._start()
            self.wait_until_ready()
            after_restart()
        except StackStopping:
            return
        except Exception as error:  # noqa: BLE001 - any error is logged, and the restart is tried again
            self._log(str(error))
            self._process.kill()
        else:
            self._log(f"{self.part.title} runs again")


class Supervisor:
    """All parts of a stack, in the order in which they were started."""

    def __init__(self, log: Log, on_start: Callable[[PartProcess], None]) -> None:
        self._log = log
        self._on_start = on_start
        self._parts: list[SupervisedPart] = []
        self._stopping = threading.Event()

    def launch(self, part: Part) -> SupervisedPart:
        """The part, started; `stop` stops it.

        Raises:
            StackStopping: the stack stops.
        """
        supervised = SupervisedPart(part, self._log, self._stopping, self._on_start)
        self._parts.append(supervised)
        return supervised

    def run(self, part: Part) -> None:
        """Start the part, wait until it is ready, and watch it; raises as `PartProcess.wait_until_ready` does."""
        supervised = self.launch(part)
        supervised.wait_until_ready()
        supervised.watch()

    def cancel_starts(self) -> None:
        """Raise StackStopping in all threads that start a part or wait for one."""
        self._stopping.set()

    def stop(self, force: threading.Event, after_each: Callable[[], None]) -> None:
        """Stop all parts, the last one first, and call `after_each` after each; kill them once `force` is set."""
        self.cancel_starts()
        for part in reversed(self._parts):
            part.stop(force)
            after_each()
