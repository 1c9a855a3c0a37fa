"""How long it takes after a fault until every file is loaded and every email has left, without a sweep."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.dropped_files import FileVersion
from tests.faults.ledger_items import Entry

LIMIT_SECONDS: Final = 120.0
"""From a part being up again to its files being loaded, and from the due time of an email to its leaving."""

NEVER: Final = float("inf")


@dataclass(frozen=True)
class Times:
    """How long files took after one fault, in seconds; what the report needs of a `Recovery`."""

    group: str
    loaded: Sequence[float]
    emailed: Sequence[float]


@dataclass(frozen=True)
class Recovery:
    """What was measured after one fault."""

    group: str
    """Faults that are reported together."""
    loaded: dict[FileVersion, float]
    """Seconds from everything being up to the file being archived or refused; 0 if it was by then, else `NEVER`."""
    emailed: dict[FileVersion, float]
    """Seconds from the due time, or from everything being up if that is later, to the email; likewise."""

    @property
    def times(self) -> Times:
        return Times(self.group, list(self.loaded.values()), list(self.emailed.values()))

    def assert_in_time(self, file: FileVersion, limit_seconds: float = LIMIT_SECONDS) -> None:
        times = f"loaded after {self.loaded[file]:.0f} s, emailed {self.emailed[file]:.0f} s after its due time"
        is_in_time = self.loaded[file] <= limit_seconds and self.emailed[file] <= limit_seconds
        assert is_in_time, f"{file.label}: {times}, not within {limit_seconds:.0f} s"


@dataclass
class Watch:
    """Notes when each file is seen loaded and emailed for the first time."""

    files: Sequence[FileVersion]
    """The newest version of each file."""
    notify_after_seconds: float
    up_at: float = field(default_factory=time.monotonic)
    _loaded_at: dict[FileVersion, float] = field(default_factory=dict)
    _emailed_at: dict[FileVersion, float] = field(default_factory=dict)
    _email_of: dict[FileVersion, str] = field(default_factory=dict)

    def see(self, entries: Sequence[Entry], keys: set[str], now: float) -> bool:
        """Whether every file is loaded and emailed by now."""
        of_version = {(entry.name, entry.etag): entry for entry in entries}
        for file in self.files:
            entry = of_version.get((file.name, file.etag))
            if entry and entry.is_settled and file.key not in keys:
                self._loaded_at.setdefault(file, now)
                self._email_of[file] = entry.email
                if entry.is_emailed:
                    self._emailed_at.setdefault(file, now)
        return len(self._emailed_at) == len(self.files)

    def result(self, group: str) -> Recovery:
        due_at: dict[str, float] = defaultdict(lambda: self.up_at)
        for file, at in self._loaded_at.items():  # an email is due once the last of its files is loaded
            email = self._email_of[file]
            due_at[email] = max(due_at[email], at + self.notify_after_seconds)
        loaded = {file: max(0, self._loaded_at.get(file, NEVER) - self.up_at) for file in self.files}
        emailed = {
            file: max(0, self._emailed_at[file] - due_at[self._email_of[file]]) if file in self._emailed_at else NEVER
            for file in self.files
        }
        return Recovery(group, loaded, emailed)
