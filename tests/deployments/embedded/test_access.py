"""A stack is closed to pages of other sites and to other users of the machine; both are played here."""

import asyncio
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
import websockets
from botocore.exceptions import ClientError
from websockets.typing import Origin, Subprotocol

from deployments.embedded import EmbeddedStack
from deployments.embedded.errors import DataDirBusyError
from deployments.embedded.services.mailbox import mails
from tests.support.system import NO_CERTIFICATES

EVIL: Final = "http://evil.example"
FETCHED: Final = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def asked(method: str, url: str, headers: dict[str, str], body: object = None) -> httpx.Response:
    with httpx.Client(verify=NO_CERTIFICATES, trust_env=False, timeout=30) as client:
        return client.request(method, url, headers=headers, json=body)


@pytest.fixture
def api(stack: EmbeddedStack) -> str:
    return stack.description.prefect_api_url


@pytest.fixture
def signed(stack: EmbeddedStack) -> dict[str, str]:
    """Headers of a request that has the key."""
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={stack.description.access_key}/x", **LIST_TABLES}


LIST_TABLES: Final = {
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    "Content-Type": "application/x-amz-json-1.0",
}


def session(stack: EmbeddedStack, key: str | None = None) -> Any:  # noqa: ANN401 - boto3's stubs overload its clients
    return boto3.Session(key or stack.description.access_key, "any", region_name="us-east-1")


# The foreign page


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        FETCHED,
    ],
    ids=str,
)
def test_a_foreign_page_gets_no_answer_from_the_prefect_server(api: str, headers: dict[str, str]) -> None:
    assert 403 == asked("GET", f"{api}/health", headers).status_code
    assert 403 == asked("POST", f"{api}/flows/filter", headers, {}).status_code
    assert 403 == asked("OPTIONS", f"{api}/flows/filter", headers).status_code


def test_the_servers_own_pages_links_and_programs_get_answers(api: str) -> None:
    port = urlsplit(api).port
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for headers in (
        {},
        {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Origin": f"http://localhost:{port}", "Sec-Fetch-Site": "cross-site"},
        {"Host": "localhost:9000", "Origin": "http://localhost:9000"},  # forwarded by ssh
        link,
    ):
        assert 200 == asked("GET", f"{api}/health", headers).status_code, headers
    assert 403 == asked("GET", f"{api}/health", {**link, "Sec-Fetch-Dest": "iframe"}).status_code
    assert 403 == asked("POST", f"{api}/flows/filter", link, {}).status_code


async def status_of_opening(url: str, *, name: str = "127.0.0.1", origin: str | None = None) -> int:
    """The server's answer to a page that opens a WebSocket; with another name, the one that DNS made lead there."""
    address = urlsplit(url)
    connection = websockets.connect(
        url.replace("127.0.0.1", name),
        host=address.hostname,
        port=address.port,
        origin=Origin(origin) if origin else None,
        subprotocols=[Subprotocol("prefect")],
        proxy=None,
    )
    try:
        async with connection as opened:
            return opened.response.status_code if opened.response else 0
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_a_foreign_page_opens_no_websocket_to_the_prefect_server(api: str, path: str) -> None:
    url = f"{api.replace('http', 'ws', 1)}/{path}"
    assert 101 == asyncio.run(status_of_opening(url))
    assert 101 == asyncio.run(status_of_opening(url, origin=api.removesuffix("/api")))
    assert 403 == asyncio.run(status_of_opening(url, origin=EVIL))
    assert 403 == asyncio.run(status_of_opening(url, name="evil.example"))
    assert 403 == asyncio.run(
        status_of_opening(url, name="evil.example", origin=f"http://evil.example:{urlsplit(api).port}")
    )


def test_a_foreign_page_gets_no_answer_from_the_emulator_even_with_the_key(
    stack: EmbeddedStack, signed: dict[str, str]
) -> None:
    url = stack.description.aws_endpoint_url
    assert 200 == asked("POST", url, signed, {}).status_code
    for headers in ({"Origin": EVIL}, {"Host": "evil.example"}, FETCHED):
        assert 403 == asked("POST", url, signed | headers, {}).status_code
        answer = asked("OPTIONS", url, headers)
        assert (403, None) == (answer.status_code, answer.headers.get("Access-Control-Allow-Origin"))


# The other user


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", "/_ministack/ses/messages"),
        ("POST", "/_ministack/reset"),
        ("GET", "/?X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"),
        ("GET", "/2015-03-31/functions/"),
    ],
)
def test_the_emulator_refuses_requests_without_the_key(stack: EmbeddedStack, method: str, path: str) -> None:
    url = f"{stack.description.aws_endpoint_url}{path}"
    other_key = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request"}
    for headers in ({}, other_key):
        assert 403 == asked(method, url, headers | LIST_TABLES).status_code


def test_a_client_with_another_key_reads_what_is_wrong(stack: EmbeddedStack) -> None:
    clients = session(stack, "test")
    calls = {"s3": "list_buckets", "dynamodb": "list_tables", "sqs": "list_queues", "cloudformation": "list_stacks"}
    for service, call in calls.items():
        client = clients.client(service, endpoint_url=stack.description.aws_endpoint_url)
        with pytest.raises(ClientError, match=r"InvalidClientTokenId|sensor-ingest env"):
            getattr(client, call)()


def test_presigned_addresses_have_the_key(stack: EmbeddedStack) -> None:
    s3 = session(stack).client("s3", endpoint_url=stack.description.aws_endpoint_url)
    s3.put_object(Bucket=stack.outputs.bucket_name, Key="shown/a.txt", Body=b"shown")
    url = s3.generate_presigned_url("get_object", {"Bucket": stack.outputs.bucket_name, "Key": "shown/a.txt"})
    assert "shown" == asked("GET", url, {}).text


def test_the_emulator_has_no_service_that_runs_programs(stack: EmbeddedStack) -> None:
    client = session(stack).client("lambda", endpoint_url=stack.description.aws_endpoint_url)
    with pytest.raises(ClientError, match="400"):
        client.list_functions()
    assert [] == mails(stack.description.aws_endpoint_url, stack.description.access_key)


def test_each_data_directory_has_keys_of_its_own_that_are_kept(stack: EmbeddedStack) -> None:
    kept = json.loads((stack.description.data_dir / "stack.json").read_text())["environment"]
    assert stack.description.access_key == kept["AWS_ACCESS_KEY_ID"]
    assert 30 < len(kept["AWS_ACCESS_KEY_ID"])
    assert kept["AWS_ACCESS_KEY_ID"] != kept["AWS_SECRET_ACCESS_KEY"]


def test_nothing_in_the_data_directory_is_open_to_other_users(stack: EmbeddedStack) -> None:
    folder = stack.description.data_dir
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    assert 50 < len(paths)
    assert {} == {
        str(path): oct(path.stat().st_mode) for path in paths if path.exists() and path.stat().st_mode & 0o077
    }


OTHER_USER: Final = """
import encodings.idna, json, os, socket, sys  # the other user may not read them
user, data_dir, ports = int(sys.argv[1]), sys.argv[2], [int(port) for port in sys.argv[3:]]
os.setgroups([]); os.setgid(user); os.setuid(user)
seen = {}
for path in (".", "stack.json", "warm.sock", "postgres", "postgres/.s.PGSQL.5432", "logs/server.log", "emulator"):
    try:
        os.stat(os.path.join(data_dir, path))
        seen[path] = "there"
    except PermissionError:
        seen[path] = "closed"
for port in ports:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /api/health HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n")
        try:
            seen[port] = client.recv(100).decode().split("\\r\\n")[0]
        except ConnectionResetError:
            seen[port] = ""
print(json.dumps(seen))
"""


def as_user(user: int, stack: EmbeddedStack) -> dict[str, str]:
    """What a process of that user sees of the stack."""
    described = stack.description
    program = [sys.executable, "-I", "-c", OTHER_USER, str(user), str(described.data_dir)]
    done = subprocess.run(
        [*program, str(described.prefect_port), str(described.aws_port)], check=False, capture_output=True, text=True
    )
    assert 0 == done.returncode, done.stderr
    seen: dict[str, str] = json.loads(done.stdout)
    return seen


@as_root
def test_another_user_reads_nothing_and_gets_no_answer(stack: EmbeddedStack) -> None:
    prefect, aws = str(stack.description.prefect_port), str(stack.description.aws_port)
    seen = as_user(pwd.getpwnam("nobody").pw_uid, stack)
    assert {"closed"} == {answer for name, answer in seen.items() if name not in {prefect, aws}}
    assert "" == seen[prefect]
    assert "403" in seen[aws]


@as_root
def test_the_stacks_own_user_gets_an_answer(stack: EmbeddedStack) -> None:
    assert "HTTP/1.1 200 OK" == as_user(0, stack)[str(stack.description.prefect_port)]


@as_root
def test_another_user_who_does_not_wait_for_the_answer_is_not_served(stack: EmbeddedStack, api: str) -> None:
    variable = {"name": "planted", "value": "by another user"}
    body = json.dumps(variable).encode()
    lines = ["POST /api/variables/ HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    address = ("127.0.0.1", stack.description.prefect_port)
    if (child := os.fork()) == 0:
        os.setgroups([])
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        with socket.create_connection(address) as client:
            client.sendall(request)
        os._exit(0)
    os.waitpid(child, 0)
    assert (
        200 == asked("GET", f"{api}/health", {}).status_code
    )  # the server has accepted the connection before this one
    assert 404 == asked("GET", f"{api}/variables/name/planted", {}).status_code


def test_the_folder_above_the_data_directory_is_as_it_was(stack: EmbeddedStack) -> None:
    folder = stack.description.data_dir
    assert (0o700, 0o700) == (mode_of(folder.parent), mode_of(folder))


def test_a_stack_that_does_not_start_gives_the_umask_back(stack: EmbeddedStack) -> None:
    umask = os.umask(0o022)
    try:
        with pytest.raises(DataDirBusyError):
            EmbeddedStack(stack.description.data_dir).__enter__()
        assert 0o022 == os.umask(0o022)
    finally:
        os.umask(umask)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
