"""What becomes of a forked process: all that a new interpreter would be that runs `python -m MODULE`."""

import atexit
import ctypes
import importlib
import os
import resource
import runpy
import signal
import sys
import time
import warnings
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from .request import Request

_FLUSH_FAILED = 120
"""Exit code of an interpreter that could not write its last output. Source: documentation of Py_FinalizeEx()."""

_ARGUMENTS = 48 - 3
"""Place of `arg_start` among the fields of /proc/self/stat after the name. Source: proc_pid_stat(5)."""

_exit_code: int | None = None


def _leave() -> None:
    """End a forked process as the last of its exit functions.

    An interpreter would now take apart each module, and so copy all memory that is shared with the warm process.
    """
    if _exit_code is None:
        return
    code = _exit_code
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        code = code or _FLUSH_FAILED
    ctypes.CDLL(None).fflush(None)  # what C libraries have printed
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


def prepare_to_leave() -> None:
    """Call it before all other imports: exit functions are called in reverse order, and this one is to be the last."""
    atexit.register(_leave)


def run(request: Request) -> NoReturn:
    """Run the module, and end this process as an interpreter does: threads are waited for, exit functions called."""
    global _exit_code  # noqa: PLW0603 - the exit function takes no arguments
    _inherit(request)
    _forget_the_warm_process(request.module)
    _show_command()
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
        _exit_code = 0
    except SystemExit as end:
        _exit_code = _code_of(end)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        _exit_code = -signal.SIGINT  # as an interpreter ends that nothing has kept from it
    except BaseException:  # noqa: BLE001 - as an interpreter does
        sys.excepthook(*sys.exc_info())
        _exit_code = 1
    sys.exit()


def _inherit(request: Request) -> None:
    for number, descriptor in enumerate(request.descriptors[:3]):
        os.dup2(descriptor, number)
    os.fchdir(request.folder)
    request.close()
    os.umask(request.umask)
    if os.getpriority(os.PRIO_PROCESS, 0) != request.niceness:
        os.setpriority(os.PRIO_PROCESS, 0, request.niceness)
    for kind, limits in request.limits.items():
        if resource.getrlimit(kind) != limits:
            resource.setrlimit(kind, limits)
    os.environb.clear()
    os.environb.update(request.environment)
    time.tzset()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number in request.ignored_signals:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked_signals)


def _forget_the_warm_process(module: str) -> None:
    """Make what the interpreter knows of its own start, and what must differ in each process, that of a new one."""
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()  # noqa: PTH109 - text, as `python -m` has it
    importlib.invalidate_caches()
    sys.argv[1:] = []
    sys.orig_argv[:] = [sys.executable, "-m", module]
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.write_through:  # else PYTHONUNBUFFERED
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # Python reseeds its own generator after a fork
    if "multiprocessing" in sys.modules:
        sys.modules["multiprocessing"].current_process().authkey = os.urandom(32)
    # The module may be imported already, and that is no mistake.
    warnings.filterwarnings("ignore", f"{module!r} found in sys.modules", RuntimeWarning)


def _show_command() -> None:
    """Have `ps` and `pkill -f` show the command of the run in place of the warm process's.

    A process may write over the arguments that the system shows; the interpreter has copied them long ago.
    """
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    begin, end = int(fields[_ARGUMENTS]), int(fields[_ARGUMENTS + 1])
    command = b"\0".join(os.fsencode(each) for each in sys.orig_argv)
    if begin and len(command) < end - begin:
        ctypes.memmove(begin, command.ljust(end - begin, b"\0"), end - begin)


def _code_of(end: SystemExit) -> int:
    """The exit code that an interpreter gives to that exception; a text is printed."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    print(end.code, file=sys.stderr)
    return 1
