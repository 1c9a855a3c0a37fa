"""Whose a connection on loopback is, as Linux says."""

import asyncio
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from deployments.embedded.description import StackDescription
from deployments.embedded.processes import identify
from deployments.embedded.services import guarded_server, prefect
from deployments.embedded.services.guard import LocalPagesOnly
from deployments.embedded.services.peers import can_tell, user_of
from deployments.embedded.startup import Startup
from deployments.embedded.supervisor import Supervisor

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


def test_a_connection_has_no_user_while_no_file_descriptor_is_left_to_ask_with(server: socket.socket) -> None:
    with socket.create_connection(server.getsockname()) as client:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            assert user_of(client.getsockname(), server.getsockname()) is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Connected(asyncio.Transport):
    """A transport of asyncio, as far as a protocol looks at it when a connection is made."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(("user", "refused"), [(os.geteuid(), False), (OTHER_USER, True), (None, True), ("?", True)])
def test_a_connection_goes_on_only_if_its_user_is_known_and_allowed(
    monkeypatch: pytest.MonkeyPatch, user: int | str | None, *, refused: bool
) -> None:
    def answer(*_: object) -> object:
        if user == "?":
            raise ZeroDivisionError
        return user

    monkeypatch.setattr(guarded_server, "user_of", answer)
    transport = Connected()

    async def connect() -> None:
        config = Config(LocalPagesOnly, lifespan="off", log_config=None)
        protocol = guarded_server.OwnConnections(config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(transport)

    with suppress(ZeroDivisionError):
        asyncio.run(connect())
    assert refused == transport.aborted


def test_the_answer_is_trusted_only_where_it_is_right_for_a_connection_of_this_process() -> None:
    assert can_tell(os.geteuid())
    assert not can_tell(os.geteuid() + 1)


@pytest.mark.parametrize(
    ("system_can_tell", "auth_string", "warned"), [(False, None, True), (False, "a:b", False), (True, None, False)]
)
def test_a_start_says_if_other_users_can_use_the_prefect_api(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    system_can_tell: bool,
    auth_string: str | None,
    warned: bool,
) -> None:
    class DatabaseIsNextError(Exception):
        pass

    def start_database(_: Startup) -> str:
        raise DatabaseIsNextError

    environment = {"PREFECT_API_AUTH_STRING": auth_string} if auth_string else {}
    stack = StackDescription(
        data_dir=tmp_path, prefect_port=1, aws_port=2, environment=environment, supervisor=identify(os.getpid())
    )
    said: list[str] = []
    monkeypatch.setattr(prefect, "can_tell", lambda _: system_can_tell)
    monkeypatch.setattr(Startup, "_start_database", start_database)
    with pytest.raises(DatabaseIsNextError):
        Startup(stack, environment, Supervisor(said.append, print), said.append)._start_prefect()  # noqa: SLF001
    assert warned == any("SENSOR_INGEST_AUTH_STRING" in line for line in said)
