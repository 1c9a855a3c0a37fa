"""Lock on the data directory: one stack at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.embedded.description import running_stack
from deployments.embedded.errors import DataDirBusyError


@contextmanager
def exclusive_lock(data_dir: Path) -> Iterator[None]:
    """Lock the data directory; the system releases the lock however this process ends.

    Raises:
        DataDirBusyError: another stack has the lock.
    """
    with (data_dir / "lock").open("a") as file:  # not inherited by child processes, see PEP 446
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = running_stack(data_dir)
            raise DataDirBusyError(data_dir, other.supervisor.pid if other else None) from None
        yield
