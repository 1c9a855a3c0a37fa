"""The fast line goes where boto3 goes: its endpoint, credentials, trust and proxies, over few connections."""

import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from botocore.exceptions import SSLError
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials

from blocks.aws_clients import client_of
from blocks.domain.errors import LeaseLostError
from blocks.dynamodb.client_settings import UnsupportedClientError, endpoint_of
from blocks.dynamodb.errors import TableUnreachableError
from blocks.readings_table import ReadingsTable
from tests.blocks.dynamodb.conftest import TABLE, contents, credentials_for, rows
from tests.fakes.certificate import make_certificate
from tests.fakes.counting_server import CountingServer, counting_server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificate") / "ca.pem"


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[CountingServer]:
    with counting_server(make_certificate(certificate)) as server:
        yield server


class Proxy(socketserver.BaseRequestHandler):
    """Answers for whatever it is asked to fetch, and hands a connection on where it is asked to connect."""

    seen: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        import socket  # noqa: PLC0415

        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(65536)
        self.seen.append(head)
        match = re.match(rb"CONNECT 127\.0\.0\.1:(\d+)|POST http://127\.0\.0\.1:(\d+)", head)
        assert match
        with socket.create_connection(("127.0.0.1", int(match[1] or match[2]))) as onward:
            if match[1]:
                self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                onward.sendall(head)
            back = threading.Thread(target=pump, args=(onward, self.request))
            back.start()
            pump(self.request, onward)
            back.join()


def pump(source: "socketserver.socket.socket", target: "socketserver.socket.socket") -> None:  # type: ignore[name-defined] # the module's own
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(1)
    except OSError:
        return


@pytest.fixture
def proxy() -> Iterator[str]:
    Proxy.seen.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://user:pass@127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_small_load_takes_one_connection(server: CountingServer) -> None:
    ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url)).write([rows(20)])
    assert 1 == server.table.connections


def test_a_load_keeps_to_the_connections_it_may_have(server: CountingServer) -> None:
    server.behave(delay_seconds=0.01)
    credentials = credentials_for(server.endpoint_url)
    ReadingsTable(table_name=TABLE, credentials=credentials, connections=3).write([rows(1_000)])
    assert 3 == server.table.connections


def test_a_server_whose_certificate_is_trusted_is_written_to(tls_server: CountingServer, certificate: Path) -> None:
    tls_server.behave()
    credentials = credentials_for(tls_server.endpoint_url, verify_cert_path=certificate)
    ReadingsTable(table_name=TABLE, credentials=credentials).write([rows(100)])
    assert contents(rows(100)) == tls_server.table.contents()


def test_a_server_whose_certificate_is_not_trusted_is_sent_nothing(tls_server: CountingServer) -> None:
    tls_server.behave()
    table = ReadingsTable(table_name=TABLE, credentials=credentials_for(tls_server.endpoint_url))
    with pytest.raises(SSLError):
        table.write([rows(3)])
    assert 0 == tls_server.table.requests


def test_trust_can_be_waived_as_for_boto3(tls_server: CountingServer) -> None:
    tls_server.behave()
    credentials = credentials_for(tls_server.endpoint_url, verify=False)
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials).write([rows(3)])


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_proxy_is_gone_through(
    server: CountingServer,
    tls_server: CountingServer,
    certificate: Path,
    proxy: str,
    tls: bool,  # noqa: FBT001
) -> None:
    target = tls_server if tls else server
    target.behave()
    parameters = {"verify_cert_path": certificate} if tls else {}
    credentials = credentials_for(target.endpoint_url, {"proxies": {"http": proxy, "https": proxy}}, **parameters)
    ReadingsTable(table_name=TABLE, credentials=credentials).write([rows(100)])
    assert contents(rows(100)) == target.table.contents()
    assert all(re.search(rb"proxy-authorization: basic dXNlcjpwYXNz", head, re.IGNORECASE) for head in Proxy.seen)
    assert Proxy.seen


def test_the_fence_is_checked_after_the_wait_for_a_connection(
    tls_server: CountingServer, certificate: Path, proxy: str
) -> None:
    def fence() -> None:
        if Proxy.seen:
            raise LeaseLostError("s3://landing/incoming/a.csv", "its lease expired while the proxy connected")

    tls_server.behave()
    config = {"proxies": {"http": proxy, "https": proxy}}
    credentials = credentials_for(tls_server.endpoint_url, config, verify_cert_path=certificate)
    with pytest.raises(LeaseLostError):
        ReadingsTable(table_name=TABLE, credentials=credentials).write([rows(3)], fence=fence)
    assert 0 == tls_server.table.requests


class RefusingProxy(socketserver.BaseRequestHandler):
    """Refuses every request."""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


def test_no_error_shows_the_password_of_a_proxy() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RefusingProxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        proxies = {"https": f"http://user:made-up-password@127.0.0.1:{proxy.server_address[1]}"}
        credentials = credentials_for("https://127.0.0.1:9", {"proxies": proxies})
        table = ReadingsTable(table_name=TABLE, credentials=credentials, patience_seconds=0.1)
        with pytest.raises(TableUnreachableError, match="407") as raised:
            table.write([rows(3)])
        proxy.shutdown()
        thread.join()
    assert "made-up-password" not in str(raised.value)


def test_an_answer_that_was_damaged_on_the_way_is_not_believed(server: CountingServer) -> None:
    server.behave(script=["damaged"])
    ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url)).write([rows(3)])
    assert contents(rows(3)) == server.table.contents()
    assert 2 == server.table.requests


def test_an_answer_in_chunks_is_understood(server: CountingServer) -> None:
    server.behave(script=["chunked"])
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url)).write([rows(3)])
    assert 1 == server.table.requests


@pytest.mark.parametrize("sender", ["fast", "boto3"])
def test_expired_credentials_are_got_anew(
    server: CountingServer, sender: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    keys.write_text("[rotated]\naws_access_key_id = OLDKEY\naws_secret_access_key = made-up\n")
    parameters = AwsClientParameters(endpoint_url=server.endpoint_url, config={"retries": {"max_attempts": 0}})
    credentials = AwsCredentials(profile_name="rotated", region_name="eu-central-1", aws_client_parameters=parameters)
    table = ReadingsTable.model_validate({"table_name": TABLE, "credentials": credentials, "sender": sender})
    assert 3 == table.write([rows(3)])
    keys.write_text(keys.read_text().replace("OLDKEY", "NEWKEY"))
    server.behave(script=["400 ExpiredTokenException"])
    assert 3 == table.write([rows(3)])
    assert [b"OLDKEY", b"NEWKEY"] == [re.findall(rb"OLDKEY|NEWKEY", head)[0] for head in server.heads]


def test_nobody_who_listens_is_an_error_when_the_patience_is_over() -> None:
    credentials = credentials_for("http://127.0.0.1:9")
    table = ReadingsTable(table_name=TABLE, credentials=credentials, patience_seconds=0.1)
    with pytest.raises(TableUnreachableError, match="ConnectionRefusedError"):
        table.write([rows(3)])


def test_a_way_that_only_boto3_knows_is_left_to_boto3(server: CountingServer) -> None:
    config = {"proxies": {}, "proxies_config": {"proxy_use_forwarding_for_https": True}}
    credentials = credentials_for(server.endpoint_url, config)
    with pytest.raises(UnsupportedClientError, match="proxies"):
        endpoint_of(client_of(credentials, "dynamodb"))
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials).write([rows(3)])
    assert b"Botocore" in server.heads[0]
