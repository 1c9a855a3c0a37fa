"""Responses that DynamoDB does not send: nothing is taken for written, and the load ends with a named error."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from blocks.aws_clients import client_of
from blocks.domain.errors import CredentialsInvalidError
from blocks.dynamodb.client_settings import endpoint_of, signer_of
from blocks.dynamodb.errors import NoResponseError, TableUnreachableError
from blocks.dynamodb.responses import Response
from blocks.dynamodb.transports import RESPONSE_BYTES
from blocks.dynamodb.writing import transport_for
from blocks.readings_table import ReadingsTable
from tests.blocks.dynamodb.conftest import TABLE, contents, credentials_for, rows
from tests.blocks.dynamodb.test_signing import signed_by_botocore
from tests.fakes.counting_server import CountingServer, counting_server

MakeTable = Callable[..., ReadingsTable]

TAKEN = '{"UnprocessedItems":{}}'
NESTED = 100_000 * "["


def response(body: str, *headers: str, status: int = 200, how: str = "raw") -> str:
    """A step of the counting server's script."""
    lines = [f"HTTP/1.1 {status} .", *(headers or [f"Content-Length: {len(body)}"])]
    return f"{how} " + "\r\n".join([*lines, "", body])


BODIES = {
    "without UnprocessedItems": "{}",
    "UnprocessedItems is null": '{"UnprocessedItems":null}',
    "UnprocessedItems is text": '{"UnprocessedItems":"x"}',
    "a table is null": '{"UnprocessedItems":{"readings":null}}',
    "a page": "<html>please sign in</html>",
    "a list": "[]",
    "nothing": "",
    "no UTF-8": "\xff\xfe\xfd",
    "nested deeply": NESTED,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_200_that_does_not_say_what_was_written_is_not_believed(
    table: ReadingsTable, server: CountingServer, body: str
) -> None:
    server.behave(script=[response(body)])
    unanswered: list[None] = []
    assert 3 == table.write([rows(3)], on_unanswered=lambda: unanswered.append(None))
    assert contents(rows(3)) == server.table.contents()
    assert (2, 1) == (server.table.requests, len(unanswered))


@pytest.mark.parametrize("body", ["{}", "<html>please sign in</html>"])
def test_a_table_that_only_answers_so_is_named_when_the_patience_is_over(
    make_table: MakeTable, server: CountingServer, body: str
) -> None:
    server.behave(script=1_000 * [response(body)])
    with pytest.raises(TableUnreachableError, match="readings has acknowledged nothing"):
        make_table(patience_seconds=0.1).write([rows(3)])


def test_more_unprocessed_items_than_were_sent_are_no_progress(table: ReadingsTable, server: CountingServer) -> None:
    put = '{"PutRequest":{"Item":{"sensor_id":{"S":"x"},"timestamp":{"N":"1"}}}}'
    server.behave(script=[response(f'{{"UnprocessedItems":{{"{TABLE}":[{",".join(4 * [put])}]}}}}')])
    assert 3 == table.write([rows(3)])
    assert contents(rows(3)) == server.table.contents()


@pytest.mark.parametrize(
    "puts", ['[{"PutRequest":{}}]', "[1]", '[{"DeleteRequest":{"Key":{}}}]', '[{"PutRequest":{"Item":[]}}]', '"ab"']
)
def test_unprocessed_items_that_cannot_be_sent_again_are_not_believed(puts: str) -> None:
    with pytest.raises(NoResponseError, match="does not say what was written"):
        Response.parse(200, f'{{"UnprocessedItems":{{"readings":{puts}}}}}'.encode())


def test_an_answer_that_is_cut_off_within_the_rows_that_it_returns_does_not_show_them() -> None:
    cut_off = b'{"UnprocessedItems":{"readings":[{"PutRequest":{"Item":{"sensor_id":{"S":"0000-0001"}'
    with pytest.raises(NoResponseError, match="85 bytes with UnprocessedItems") as raised:
        Response.parse(200, cut_off)
    assert "0000-0001" not in str(raised.value)


@pytest.mark.parametrize("status", [204, 302, 304])
def test_a_status_that_dynamodb_does_not_send_is_waited_for(server: CountingServer, status: int) -> None:
    server.behave(script=[response("", "Location: http://127.0.0.1:9/", "Content-Length: 0", status=status)])
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url)).write([rows(3)])
    assert 2 == server.table.requests


MESSAGES = {
    "a head over 64 KiB": response(TAKEN, f"X-Long: {70_000 * 'a'}", "Content-Length: 23"),
    "ten thousand headers": response(TAKEN, *(f"X-{n}: a" for n in range(10_000)), "Content-Length: 23"),
    "both lengths": response(f"17\r\n{TAKEN}\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 23"),
    "two lengths": response(TAKEN, "Content-Length: 23", "Content-Length: 22"),
    "a negative length": response(TAKEN, "Content-Length: -1"),
    "a chunk without a size": response(f"x\r\n{TAKEN}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a body that is cut off": response(TAKEN, "Content-Length: 99", how="end"),
    "no HTTP": "end \x00\x01\x02 hello\r\n\r\n",
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_that_breaks_http_is_no_response(server: CountingServer, message: str) -> None:
    server.behave(script=[message])
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url)).write([rows(3)])
    assert contents(rows(3)) == server.table.contents()
    assert 2 == server.table.requests


ODD_BUT_VALID = {
    "chunks with an extension": response(f"17;a=b\r\n{TAKEN}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "interim responses": f"raw HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\n{response(TAKEN)[4:]}",
    "a body that ends with the connection": response(TAKEN, "X-Nothing: else", how="end"),
}


@pytest.mark.parametrize("message", ODD_BUT_VALID.values(), ids=ODD_BUT_VALID)
def test_what_http_allows_is_understood(server: CountingServer, message: str) -> None:
    server.behave(script=[message])
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url)).write([rows(3)])
    assert 1 == server.table.requests


def test_a_body_without_end_is_read_no_further_than_a_response_can_be_long(server: CountingServer) -> None:
    server.behave(script=3 * [response((RESPONSE_BYTES + 1) * " ", "Content-Length: 1000000000000")])
    transport = transport_for(client_of(credentials_for(server.endpoint_url), "dynamodb"), lambda: None, "fast")  # type: ignore[arg-type,return-value] # nothing is renewed

    async def send() -> None:
        try:
            await transport.send(b"{}")
        finally:
            await transport.close()

    with pytest.raises(NoResponseError, match=r"more than 32,000,000 bytes"):
        asyncio.run(send())


def test_an_answer_that_trickles_is_not_waited_for_without_end(server: CountingServer) -> None:
    server.behave(script=["trickle"])
    credentials = credentials_for(server.endpoint_url, {"read_timeout": 0.1, "connect_timeout": 0.1})
    assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials).write([rows(3)])
    assert 2 == server.table.requests


@pytest.mark.parametrize("end", ["timeout", "cancelled"])
def test_a_connection_whose_answer_stops_half_way_is_closed_at_once(end: str) -> None:
    async def send() -> bytes:
        asked, closed = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def answer_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 200 .\r\nContent-Length: 23\r\n\r\n{")
            asked.set()
            closed.set_result(await reader.read())
            writer.close()

        async with await asyncio.start_server(answer_half, "127.0.0.1", 0) as half:
            url = f"http://127.0.0.1:{half.sockets[0].getsockname()[1]}"
            client = client_of(credentials_for(url, {"read_timeout": 0.2 if end == "timeout" else 60}), "dynamodb")
            transport = transport_for(client, lambda: None, "fast")  # type: ignore[arg-type,return-value] # as above
            sending = asyncio.create_task(transport.send(b"{}"))
            await asyncio.wait_for(asked.wait(), 10)
            if end == "cancelled":
                sending.cancel()
            with pytest.raises((NoResponseError, asyncio.CancelledError)) as held:
                await sending
            try:
                return await asyncio.wait_for(asyncio.shield(closed), 10)
            finally:
                await transport.close()
                assert held

    assert b"" == asyncio.run(send())


# ---- IPv6 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://[::1]:8000", "http://[::1]", "https://[2001:db8::1]:443", "https://[::1]:8443"]
)
def test_a_request_to_an_ipv6_address_is_signed_as_botocore_signs_it(url: str) -> None:
    client = client_of(credentials_for(url), "dynamodb")
    signer = signer_of(client, endpoint_of(client))
    credentials: Any = client._request_signer._credentials.get_frozen_credentials()  # noqa: SLF001 - botocore's own
    expected, moment = signed_by_botocore(f"{url}/", "eu-central-1", b"{}", credentials)
    signer.now = lambda: moment
    assert expected == signer.headers(b"{}", credentials)["authorization"]


def test_rows_are_written_to_an_ipv6_address(sender: Any) -> None:  # noqa: ANN401 - a literal
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback address: {error}")
    with counting_server(address="::1") as server:
        credentials = credentials_for(server.endpoint_url)
        assert 3 == ReadingsTable(table_name=TABLE, credentials=credentials, sender=sender).write([rows(3)])
        port = server.endpoint_url.rpartition(":")[2]
        assert f"\r\nhost: [::1]:{port}\r\n".encode() in server.heads[0].lower() + b"\r\n"


# ---- Credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["made-up\r\nX-Forged: 1", "made-up\nX-Forged: 1", "made-up\n"])
def test_a_line_break_in_a_session_token_is_an_error_that_does_not_show_it(
    server: CountingServer,
    sender: Any,  # noqa: ANN401 - a literal
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": token}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    credentials = credentials_for(server.endpoint_url).model_copy(
        update={"aws_access_key_id": None, "aws_secret_access_key": None}
    )
    with pytest.raises(CredentialsInvalidError) as raised:
        ReadingsTable(table_name=TABLE, credentials=credentials, sender=sender).write([rows(3)])
    assert "made-up" not in str(raised.value)
    assert 0 == server.table.requests
