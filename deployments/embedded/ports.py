"""Which loopback port a part listens on."""

import random
import socket
from typing import Final

from deployments.embedded.errors import PortBusyError

LOOPBACK: Final = "127.0.0.1"

# Below the ports that systems hand to outgoing connections (from 32768 on Linux, from 49152 on macOS): out of those,
# any client could be given the port of a part in the moment in which it is started again.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES: Final = 100


def choose_port(wanted: int, part: str, option: str, *, last_time: int | None = None, taken: int | None = None) -> int:
    """The port that was asked for; for 0 the one of last time if that is free, else any free one.

    A port that is `taken` by another part, which may not listen on it yet, is not free.

    Raises:
        PortBusyError: the port that was asked for is taken.
    """
    if wanted:
        if wanted == taken or not _free(wanted):
            raise PortBusyError(wanted, part, option)
        return wanted
    candidates = [last_time] if last_time else []
    candidates += random.sample(range(_LOWEST, _HIGHEST), _TRIES)
    return next(port for port in candidates if port != taken and _free(port))


def _free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do it: connections that are only waiting to be forgotten do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
