"""Choice of the loopback ports that parts listen on."""

import random
import socket
from typing import Final

from deployments.embedded.errors import PortBusyError

LOOPBACK: Final = "127.0.0.1"

# Below the ephemeral ports (from 32768 on Linux, from 49152 on macOS): the system could assign one of those to any
# client at the moment in which the part that listens on it is restarted.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES: Final = 100


def choose_port(
    requested: int, part: str, option: str, *, last_port: int | None = None, reserved_port: int | None = None
) -> int:
    """The requested port; for 0 the last port if it is free, else a random free port.

    `reserved_port`, which another part will listen on, counts as used.

    Raises:
        PortBusyError: the requested port is in use.
    """
    if requested:
        if requested == reserved_port or not _is_free(requested):
            raise PortBusyError(requested, part, option)
        return requested
    candidates = [last_port] if last_port else []
    candidates += random.sample(range(_LOWEST, _HIGHEST), _TRIES)
    return next(port for port in candidates if port != reserved_port and _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do: a connection in TIME_WAIT does not block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
