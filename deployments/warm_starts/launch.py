"""A launcher, as the warm process sees it."""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from .launcher import LENGTH
from .request import DESCRIPTORS, Request


class Launch:
    """A connection of a launcher: its request, then the signals for its run."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection: Final = connection
        self.request: Request | None = None
        self.pid: int | None = None
        self._received = bytearray()
        self._descriptors: list[int] = []

    def receive(self) -> bytes | None:
        """The next bytes; None if the launcher has ended."""
        try:
            received, descriptors, _, _ = socket.recv_fds(self.connection, 1 << 18, DESCRIPTORS)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        self._descriptors += descriptors
        return received or None

    def add(self, received: bytes) -> bytes | None:
        """The request, once all of it has been received."""
        self._received += received
        if len(self._received) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._received)
        return bytes(self._received[LENGTH.size :]) if len(self._received) >= LENGTH.size + length else None

    def parse(self, body: bytes) -> Request:
        """The request of a launcher, which has the descriptors from now on; raises as `Request.parse` does."""
        self.request = Request.parse(body, self._descriptors)
        self._descriptors = []
        return self.request

    def answer(self, data: bytes) -> None:
        with suppress(OSError):  # the launcher has ended
            self.connection.send(data)

    def signal(self, numbers: Iterable[int]) -> None:
        """Send these signals to the run; it has not been reaped, so its number is still its own."""
        if self.pid is None:
            return
        for number in numbers:
            with suppress(OSError):  # it has changed its account, or this is no signal
                os.kill(self.pid, number)

    def release(self) -> None:
        """Close the descriptors of the request, if they have not been."""
        for each in self._descriptors:
            os.close(each)
        self._descriptors = []
        if self.request:
            self.request.close()
            self.request = None

    def close(self) -> None:
        self.release()
        self.connection.close()
