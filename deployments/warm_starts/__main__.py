"""python -m deployments.warm_starts SOCKET MODULE…: imports the modules, then forks a process per run."""

from .forked_run import prepare_to_leave, run

prepare_to_leave()  # before the imports below

import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

from .code_version import CodeVersion  # noqa: E402
from .preloading import preload  # noqa: E402
from .warm_process import WarmProcess  # noqa: E402


def main() -> None:
    """Return when the process is to end; in forked processes the run ends it."""
    path, modules = Path(sys.argv[1]).absolute(), sys.argv[2:]
    _open_standard_streams()
    began, measured = time.time(), time.monotonic()
    problem = preload(modules)
    warm = WarmProcess(path, modules, CodeVersion(began), problem)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are all it takes
    # Python 3.12 warns of threads that libraries have, too; those are prepared for a fork, or should be told not to be.
    warnings.filterwarnings("ignore", ".*use of fork\\(\\) may lead to deadlocks", DeprecationWarning)
    took = f"after {time.monotonic() - measured:.1f} s, {threads} threads, {threading.active_count()} of them Python's"
    print(problem or f"ready {took}", file=sys.stderr, flush=True)
    if request := warm.serve():
        run(request)


def _open_standard_streams() -> None:
    """Have descriptors 0 to 2 in use, so that those of a run have other numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        pass
    os.close(descriptor)


if __name__ == "__main__":
    main()
