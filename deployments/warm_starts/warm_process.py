"""The warm process: forks a process for each launcher that asks, and tells it how that process ended."""

import ctypes
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from .code_version import CodeVersion
from .inheritance import check
from .launch import Launch
from .launcher import ACCEPTED, DECLINED, GO, STATUS
from .prefect_settings import PrefectSettings
from .request import DeclinedError, Request

STATUS_REQUEST: Final = b"status"
"""The request of `status.py`."""

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""
_LONGEST_REASON: Final = 4000
"""Bytes that a launcher reads."""
_IMPORT_AGAIN_SECONDS: Final = 30
"""How long one that could not import its modules declines before it ends, so that another one tries."""


class WarmProcess:
    """Listens on a Unix socket that only its own account may connect to."""

    def __init__(self, path: Path, modules: list[str], code: CodeVersion, problem: str | None) -> None:
        """Begin to listen. With a problem it declines every request and says why."""
        self._path, self._modules, self._code, self._problem = path, modules, code, problem
        self._environment = dict(os.environb)
        self._settings = PrefectSettings(self._environment)
        self._began, self._forked, self._draining = time.monotonic(), 0, False
        self._launches: set[Launch] = set()
        self._listener, self._inode = _listen(path)
        self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup[1])
        for number in _HANDLED:
            signal.signal(number, self._note)
        self._selector = selectors.DefaultSelector()
        for each in (self._listener, self._wakeup[0]):
            self._selector.register(each, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """The request, in each forked process; None in this one, after a stop and the end of its last run."""
        while self._launches or not self._draining:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data is None:
                    os.read(self._wakeup[0], 1 << 12)
                elif request := self._hear(key.data):
                    return request
            self._reap()
            if self._draining:
                self._stop_listening()
        return None

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._draining = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has ended already, or this process has too many descriptors for the moment
            return
        connection.settimeout(0)
        launch = Launch(connection)
        self._launches.add(launch)
        self._selector.register(connection, selectors.EVENT_READ, launch)

    def _hear(self, launch: Launch) -> Request | None:
        """In a forked process its request."""
        received = launch.receive()
        if received is None:
            self._lost(launch)
        elif launch.request is not None and received[:1] == GO:
            if self._fork(launch, launch.request):
                return launch.request
            launch.signal(received[1:])
        elif launch.pid is not None:
            launch.signal(received)
        elif body := launch.add(received):
            self._answer(launch, body)
        return None

    def _lost(self, launch: Launch) -> None:
        """The end of the launcher is the end of its run, as it is where the launcher is the run."""
        self._selector.unregister(launch.connection)
        if launch.pid is None:
            self._launches.remove(launch)
            launch.close()
        else:
            launch.signal([signal.SIGKILL])  # and _reap() forgets it

    def _answer(self, launch: Launch, body: bytes) -> None:
        if body == STATUS_REQUEST:
            launch.answer(json.dumps(self._status()).encode())
            self._lost(launch)
            return
        try:
            self._check(launch, launch.parse(body))
        except DeclinedError as reason:
            _print(f"declined: {reason}")
            launch.answer(DECLINED + str(reason).encode(errors="replace")[:_LONGEST_REASON])
            self._lost(launch)
        else:
            launch.answer(ACCEPTED)

    def _status(self) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "problem": self._problem_now(),
            "modules": self._modules,
            "forked": self._forked,
            "running": sum(launch.pid is not None for launch in self._launches),
        }

    def _check(self, launch: Launch, request: Request) -> None:
        _, user, group = struct.unpack("3i", launch.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if (user, group) != (os.geteuid(), os.getegid()):
            raise DeclinedError("the warm process belongs to another account")
        if changed := self._code.changed():
            _print(f"{changed} has changed: ending, so that a new process imports it")
            self._draining = True
            raise DeclinedError(f"{changed} has changed since the warm process imported it")
        if self._problem and time.monotonic() - self._began > _IMPORT_AGAIN_SECONDS:
            self._draining = True
        check(request, self._environment)
        if not self._problem:
            self._settings.use(request)
        if problem := self._problem_now():
            raise DeclinedError(problem)

    def _problem_now(self) -> str | None:
        others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
        if others:  # a fork copies their locks, but not them: the copy may wait for ever
            return f"the warm process has other threads: {', '.join(others)}"
        return self._problem

    def _fork(self, launch: Launch, request: Request) -> bool:
        """Whether this is the forked process."""
        try:
            self._settings.use(request)  # again: another launch may have been checked since, with other settings
        except DeclinedError as error:  # they were valid a moment ago
            _print(f"cannot fork: {error}")
            self._lost(launch)
            return False
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()  # else the run would print it once more
        # In the forked process they stay blocked until it has the signal mask of its launcher.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes; other runs go on
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            _print(f"cannot fork: {error}")
            self._lost(launch)
            return False
        if pid:
            launch.pid = pid
            launch.release()
            self._forked += 1
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            return False
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.setsid()  # a run that signals its process group does not mean the warm process
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._selector.close()
        for each in (self._listener, *(other.connection for other in self._launches)):
            each.close()
        for other in self._launches - {launch}:
            other.release()
        for descriptor in self._wakeup:
            os.close(descriptor)
        return True

    def _reap(self) -> None:
        running = {launch.pid: launch for launch in self._launches if launch.pid is not None}
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if launch := running.pop(pid, None):
                launch.answer(STATUS.pack(status))
                self._launches.remove(launch)
                with suppress(KeyError):  # its launcher has ended
                    self._selector.unregister(launch.connection)
                launch.close()

    def _stop_listening(self) -> None:
        """Take no more requests; runs, and launchers that were accepted, go on."""
        if self._listener.fileno() < 0:
            return
        self._selector.unregister(self._listener)
        self._listener.close()
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:  # else another warm process has it now
                self._path.unlink()
        for launch in [each for each in self._launches if each.pid is None and each.request is None]:
            self._lost(launch)


def _listen(path: Path) -> tuple[socket.socket, int]:
    """The listening socket, and the number of its file."""
    path.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.umask(umask)
        os.close(directory)
    listener.settimeout(0)
    listener.listen(1024)
    return listener, path.stat().st_ino


def _print(line: str) -> None:
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
