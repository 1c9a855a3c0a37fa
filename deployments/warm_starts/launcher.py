"""Runs a module in a process that the warm process forks; if that does not work, in a new interpreter.

    python -I -S launcher.py SOCKET [--module=prefect.engine] [--timeout=10]

It stands for the run: it passes signals on to the forked process, and ends as that process ends. It imports little, as
each run starts one.
"""

import os
import resource
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `typing` alone takes as long to import as everything else here
    from typing import NoReturn

PROTOCOL = b"warm starts 1"
"""Changes with the request, so that a launcher and a warm process of different versions do not misunderstand."""

LENGTH = struct.Struct("I")
"""Comes before a request: its length in bytes."""
ACCEPTED, DECLINED, GO = b"+", b"-", b"!"
STATUS = struct.Struct("i")
"""How the run ended, as waitpid() says it."""

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main() -> "NoReturn":
    """Ends as the run ends."""
    path = sys.argv[1]
    options = dict(each.removeprefix("--").split("=", 1) for each in sys.argv[2:])
    module = options.get("module", "prefect.engine")
    try:
        connection = start(path, module, float(options.get("timeout", "10")))
    except OSError as problem:
        print(f"no warm start ({problem}): starting python -m {module}", file=sys.stderr, flush=True)
        os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 - what a worker would have started
    stand_for_run(connection)


def start(path: str, module: str, timeout: float) -> socket.socket:
    """The connection to the warm process, which forks the run's process now.

    Raises:
        OSError: no warm process answers within so many seconds, or it declines; then it forks nothing.
    """
    if sys.platform != "linux":
        raise OSError("there are none but on Linux")
    for number in range(3):
        os.fstat(number)  # a closed one would be given to the connection
    connection = connect(path, timeout)
    try:
        body = b"\0".join([*attributes(module), *(b"%b=%b" % each for each in os.environb.items())])
        directory = os.open(".", os.O_PATH | os.O_DIRECTORY)
        socket.send_fds(connection, [LENGTH.pack(len(body))], [0, 1, 2, directory])
        connection.sendall(body)
        expect_acceptance(connection)
        os.close(directory)
        go(connection)
    except OSError:
        connection.close()
        raise
    connection.settimeout(None)
    return connection


def go(connection: socket.socket) -> None:
    """Have the warm process fork. One that was so slow that the run began elsewhere never gets this word.

    Raises:
        OSError: the warm process has ended.
    """
    signals = ForwardedSignals(connection)
    try:
        connection.sendall(GO)
    except OSError:
        signals.give_up()
        raise
    signals.begin()


def expect_acceptance(connection: socket.socket) -> None:
    """Return when the warm process has said that it can fork.

    Raises:
        OSError: it declines, and says why; or it ends.
    """
    answer = connection.recv(1 << 12)
    if answer != ACCEPTED:
        raise OSError(answer.removeprefix(DECLINED).decode(errors="replace") or "the warm process ended")


def connect(path: str, timeout: float) -> socket.socket:
    """A connection to the socket with that path, of any length: the address of a socket has at most 107 bytes.

    Raises:
        OSError: nothing listens there.
    """
    folder, name = os.path.split(path)
    directory = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{name}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def attributes(module: str) -> list[bytes]:
    """What a process inherits from its parent, besides descriptors, folder and environment."""
    umask = os.umask(0o077)
    os.umask(umask)
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    kinds = sorted(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
    limits = [f"{kind}:{soft}:{hard}" for kind in kinds for soft, hard in [resource.getrlimit(kind)]]
    texts = (
        module,
        os.path.dirname(sys.executable),  # noqa: PTH120 - pathlib would take half of the time of a launcher
        str(umask),
        str(os.getpriority(os.PRIO_PROCESS, 0)),
        " ".join(str(int(number)) for number in ignored),
        " ".join(str(int(number)) for number in blocked),
        " ".join(limits),
    )
    return [PROTOCOL, *(os.fsencode(text) for text in texts)]


class ForwardedSignals:
    """From now on signals are for the run; those that come before it has begun are kept."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._kept: list[int] | None = []
        for number in FORWARDED:
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        if self._kept is not None:
            self._kept.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        try:
            self._connection.send(bytes([number]))
        except OSError:  # the warm process is gone, and so the run; stand_for_run() sees it, too
            return

    def begin(self) -> None:
        """Send what has been kept; the run has begun."""
        kept, self._kept = self._kept or [], None
        for number in kept:
            self._send(number)

    def give_up(self) -> None:
        """The signals are for this process after all, and those that were kept arrive now."""
        for number in FORWARDED:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL)
        for each in self._kept or []:
            os.kill(os.getpid(), each)


def stand_for_run(connection: socket.socket) -> "NoReturn":
    """End with the exit code of the forked process, or by the signal that ended it."""
    try:
        status = connection.recv(STATUS.size, socket.MSG_WAITALL)
    except OSError:
        status = b""
    # Without a status the warm process was killed, and the system has killed the run's process with it.
    code = os.waitstatus_to_exitcode(*STATUS.unpack(status)) if len(status) == STATUS.size else -signal.SIGKILL
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the forked process has dumped its core
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])
    os.kill(os.getpid(), -code)
    os._exit(128 - code)  # the signal is one that ends no process


if __name__ == "__main__":
    main()
