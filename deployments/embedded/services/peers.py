"""Which user of this machine has opened a connection to a server on loopback, as Linux says."""

import socket
import struct
from contextlib import closing
from typing import Final

Address = tuple[str, int]
"""IPv4 address and port."""

_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_ESTABLISHED: Final = 1
_ANY_COOKIE: Final = 0xFFFFFFFF
# Source: sock_diag(7) and linux/inet_diag.h: nlmsghdr, inet_diag_sockid, inet_diag_req_v2, inet_diag_msg.
_HEADER: Final = struct.Struct("=IHHII")
_SOCKET: Final = struct.Struct("!HH16s16s")
_NO_INTERFACE: Final = struct.pack("=III", 0, _ANY_COOKIE, _ANY_COOKIE)
_REQUEST_BODY: Final = struct.Struct("=BBBxI")
_ANSWER: Final = struct.Struct("=BB2x48x12xI")
"""Family, state, timer, retransmissions, socket, three numbers, user."""


def user_of(client: Address, server: Address) -> int | None:
    """The number of the user who has that connection open; None if the client has closed it, or the system cannot say.

    It takes 25 microseconds. A closed connection has no user any more, so a client that is gone counts as unknown. So
    does everyone while this process has no file descriptor left to ask with, which another user can bring about.
    """
    addresses = _SOCKET.pack(client[1], server[1], socket.inet_aton(client[0]), socket.inet_aton(server[0]))
    body = _REQUEST_BODY.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED) + addresses + _NO_INTERFACE
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 0, 0) + body)
            answer = kernel.recv(4096)
    except OSError:
        return None
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:  # an error instead
        return None
    _, state, user = _ANSWER.unpack_from(answer, _HEADER.size)
    return user if state == _ESTABLISHED else None


def can_tell(user: int) -> bool:
    """Whether this system says of a connection of this process, whose user that is, who has opened it."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
            closing(server.accept()[0]),
        ):
            return user_of(client.getsockname(), server.getsockname()) == user
    except (AttributeError, OSError):  # not Linux, or without this part of it
        return False
