"""What the forked process cannot take over from the launcher, because the warm process has used it already."""

import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from .request import DeclinedError, Request

_READ_BY_THE_INTERPRETER = (b"PYTHON", b"LD_", b"LC_", b"LANG", b"MALLOC_", b"GLIBC_TUNABLES")
"""Prefixes of variables that have their effect while an interpreter starts."""


def check(request: Request, environment: Mapping[bytes, bytes]) -> None:
    """Return if a process forked from this one, which began with that environment, can be what the request asks for.

    Raises:
        DeclinedError: a new interpreter would be another one, or may do what this process may not.
    """
    if request.programs != str(Path(sys.executable).parent):
        raise DeclinedError(f"the warm process has the interpreter {sys.executable}")
    ours, asked = _of_interpreter(environment), _of_interpreter(request.environment)
    if different := sorted(os.fsdecode(name) for name, _ in ours.items() ^ asked.items()):
        raise DeclinedError(f"the warm process began with another {', '.join(dict.fromkeys(different))}")
    if request.niceness < os.getpriority(os.PRIO_PROCESS, 0):
        raise DeclinedError("the warm process has a lower priority")
    for kind, (_, hard) in request.limits.items():
        if _amount(resource.getrlimit(kind)[1]) < _amount(hard):
            raise DeclinedError("the warm process has lower resource limits")


def _of_interpreter(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_BY_THE_INTERPRETER)}


def _amount(limit: int) -> float:
    return float("inf") if limit == resource.RLIM_INFINITY else limit
