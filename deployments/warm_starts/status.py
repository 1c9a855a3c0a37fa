"""Asks a warm process how it is."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from .launcher import LENGTH, connect
from .warm_process import STATUS_REQUEST


@dataclass(frozen=True)
class Status:
    """What a warm process says about itself."""

    pid: int
    problem: str | None
    """Why it forks nothing; None if it forks."""
    modules: list[str]
    """Those it was started with."""
    forked: int
    """Runs that it has forked."""
    running: int
    """Runs that have not ended."""


def status(path: Path, timeout_seconds: float = 5) -> Status:
    """The status of the warm process that listens on that socket.

    Raises:
        OSError: none does, or it does not answer in time.
    """
    with connect(str(path), timeout_seconds) as connection:
        connection.sendall(LENGTH.pack(len(STATUS_REQUEST)) + STATUS_REQUEST)
        answer = b""
        while part := connection.recv(1 << 12):
            answer += part
    try:
        return Status(**json.loads(answer))
    except (TypeError, ValueError) as error:
        raise OSError(f"what listens on {path} is no warm process of this version") from error


def socket_of(base_job_template: Mapping[str, Any]) -> Path | None:
    """The socket that launchers of that work pool connect to; None if it starts runs otherwise."""
    variables = base_job_template.get("variables", {}).get("properties", {})
    words = shlex.split(variables.get("command", {}).get("default") or "")
    for word, following in pairwise(words):
        if Path(word).parts[-2:] == ("warm_starts", "launcher.py"):
            return Path(following)
    return None
