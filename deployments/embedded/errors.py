"""What can go wrong with the embedded stack, one class per situation."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blocks.domain.errors import SensorIngestError

_TAIL_LINES: Final = 20


class ExtraMissingError(SensorIngestError):
    """The project is installed without what the embedded stack needs."""

    def __init__(self, module: str | None) -> None:
        super().__init__(
            f"The embedded stack needs the Python module {module}, which is not installed. "
            "`make install` installs it, and so does `pip install 'sensor-ingest[embedded]'`."
        )


class PartFailedError(SensorIngestError):
    """A part of the embedded stack ended when it should have run, or was not ready in time."""

    def __init__(self, part: str, problem: str, command: Sequence[str], log: Path) -> None:
        super().__init__(
            f"{part} {problem}.\n  Its command: {shlex.join(command)}\n  Its log, {log}, ends:\n{_tail(log)}"
        )


class PortBusyError(SensorIngestError):
    """Something else listens where a part of the embedded stack was to."""

    def __init__(self, port: int, part: str, option: str) -> None:
        super().__init__(
            f"Port {port}, which {part} was to listen on, is taken on this machine. "
            f"Stop what listens there, or choose another port with {option} (0 stands for any free one)."
        )


class DataDirBusyError(SensorIngestError):
    """Another embedded stack runs on the data directory."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"An embedded stack already runs in {data_dir} ({who}). "
            "Use that one, stop it with Ctrl-C, or choose another directory with --data-dir."
        )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:] or ["(it is empty)"])
