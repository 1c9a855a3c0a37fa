"""Whose a connection on loopback is, as Linux says."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from deployments.embedded.services.peers import can_tell, user_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")

OTHER_USER = 65_534


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_connection_has_the_user_of_the_process_that_opened_it(server: socket.socket) -> None:
    with socket.create_connection(server.getsockname()) as client:
        assert os.geteuid() == user_of(client.getsockname(), server.getsockname())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_connection_of_another_user_has_that_user(server: socket.socket) -> None:
    if (child := os.fork()) == 0:
        os.setuid(OTHER_USER)
        with socket.create_connection(server.getsockname()) as client:
            client.recv(1)
        os._exit(0)
    accepted, address = server.accept()
    with closing(accepted):
        assert user_of(address, server.getsockname()) == OTHER_USER
    os.waitpid(child, 0)


def test_a_connection_that_its_client_has_closed_has_no_user(server: socket.socket) -> None:
    with socket.create_connection(server.getsockname()) as client:
        address = client.getsockname()
    assert user_of(address, server.getsockname()) is None  # Linux says root's of such a one


def test_a_connection_that_there_is_not_has_no_user(server: socket.socket) -> None:
    assert user_of(("127.0.0.1", 1), server.getsockname()) is None


def test_the_answer_is_trusted_only_where_it_is_right_for_a_connection_of_this_process() -> None:
    assert can_tell(os.geteuid())
    assert not can_tell(os.geteuid() + 1)
