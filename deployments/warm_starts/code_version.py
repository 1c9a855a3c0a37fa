"""Whether the code that this process has imported is still the code on disk."""

import os
import sys
import time
from pathlib import Path

_Version = dict[str, int]
"""When each path was last changed, in ns since the epoch; 0 if it is gone."""

_TICK_NS = 10_000_000
"""The clock of file systems may be that much behind: a tick of the kernel is 1 to 10 ms."""


class CodeVersion:
    """The imported code: each module of the project, and the folders that libraries are installed in.

    An installation changes its folder, so the thousands of files of libraries need not be looked at.
    """

    def __init__(self, began: float) -> None:
        """Take the code that is imported now; `began` is the time before the first import, in s since the epoch."""
        self._version = _version(_paths())
        self._imported_in = range(int(began * 1e9) - _TICK_NS, time.time_ns())

    def changed(self) -> str | None:
        """A path that has changed since it was imported, or while it was; None if none has."""
        now = _version(self._version)
        for path, changed_at in now.items():
            if changed_at != self._version[path] or changed_at in self._imported_in:
                return path
        return None


def _paths() -> set[str]:
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    libraries = {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
    elsewhere = (*(f"{path}/" for path in libraries), f"{Path(os.__file__).parent}/")
    return libraries | {file for file in files if file and not file.startswith(elsewhere)}


def _version(paths: "set[str] | _Version") -> _Version:
    return {path: _changed_at(path) for path in paths}


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - some hundred of them, before each run
    except OSError:
        return 0
