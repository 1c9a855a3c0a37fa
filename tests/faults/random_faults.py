"""Files that keep coming, some in newer versions, while something is killed or stalls every few seconds."""

import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psutil

from tests.faults.dropped_files import Dropper, FileVersion
from tests.faults.processes import Stalled, kill, stall
from tests.faults.system import FaultySystem

BETWEEN_FAULTS_SECONDS: Final = (5.0, 15.0)
BETWEEN_DROPS_SECONDS: Final = 2.0
STALL_LEASES: Final = (1.5, 4.0)
"""How long something stands still, in leases."""

ROWS: Final = (1, 40, 400)
"""Good rows of a version; one with a single one is refused."""

REMEMBERED: Final = 20
"""Files of which a newer version may land: the last ones, so that their loads may be under way."""

KILLS: Final = (
    *("kill run", "kill run", "kill launcher", "kill warm"),
    *("kill worker", "kill relay", "kill server", "kill postgres"),
)
STALLS: Final = ("stall run", "stall run", "stall warm", "stall worker", "stall relay", "stall server")


@dataclass
class RandomFaults:
    """What is dropped and broken, in an order that the seed repeats."""

    system: FaultySystem
    files: Dropper
    chance: random.Random
    faults: Sequence[str] = KILLS
    newer_share: float = 0.0
    """The share of the drops that are newer versions."""
    dropped: list[FileVersion] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _stalled: list[tuple[float, Stalled]] = field(default_factory=list)
    """What stands still, and until when."""

    def run(self, seconds: float) -> None:
        """Drop and break for so long; nothing stands still afterwards."""
        end, next_fault = time.monotonic() + seconds, self._next_fault()
        try:
            while (now := time.monotonic()) < end:
                self.drop_one()
                if now > next_fault:
                    self._break_something()
                    next_fault = self._next_fault()
                self._go_on(until=now)
                time.sleep(BETWEEN_DROPS_SECONDS)  # the pace of the drop, which nothing waits for
        finally:
            self._go_on(until=float("inf"))

    def drop_one(self) -> None:
        newest = list({version.name: version for version in self.dropped}.values())[-REMEMBERED:]
        rows = self.chance.choice(ROWS)
        is_newer = bool(newest) and self.chance.random() < self.newer_share
        self.dropped.append(self.chance.choice(newest).newer(rows) if is_newer else self.files.new("random", rows))
        self.files.drop(self.dropped[-1])

    @property
    def mails_at_most(self) -> int:
        """A process may have died between SES taking an email and the note of it, any number of times."""
        return 1 + self.done.total()

    def _next_fault(self) -> float:
        return time.monotonic() + self.chance.uniform(*BETWEEN_FAULTS_SECONDS)

    def _break_something(self) -> None:
        fault = self.chance.choice(self.faults)
        with suppress(psutil.Error):  # parts may be down from the last time
            if victims := self._victims(fault.partition(" ")[2]):
                self.done[fault] += 1
                if fault.startswith("kill"):
                    kill(victims[0])
                else:
                    leases = self.chance.uniform(*STALL_LEASES)
                    until = time.monotonic() + leases * self.system.settings.lease_seconds
                    self._stalled.append((until, stall(victims)))

    def _victims(self, name: str) -> list[psutil.Process]:
        if name not in ("run", "launcher"):
            return [psutil.Process(self.system.stack.parts[name].pid)]
        runs = self.system.run_processes() if name == "run" else self.system.launchers()
        return [self.chance.choice(runs)] if runs else []

    def _go_on(self, until: float) -> None:
        for at, stalled in self._stalled:
            if at <= until:
                stalled.go_on()
        self._stalled = [(at, stalled) for at, stalled in self._stalled if at > until]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
