"""What the guard lets through, by headers alone; `test_access.py` asks the servers behind it."""

from typing import Any

import pytest

from deployments.embedded.services.guard import KeyHoldersOnly, LocalPagesOnly, Receive, Scope, Send

PAGE = {"Host": "127.0.0.1:4200", "Origin": "http://127.0.0.1:4200"}
CREDENTIAL = {"Host": "127.0.0.1:4566", "Authorization": "AWS4-HMAC-SHA256 Credential=LOCALKEY/20260101/x/s3"}


async def no_application(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def scope(headers: dict[str, str], method: str = "GET", path: str = "/", query: bytes = b"") -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "query_string": query, "headers": pairs}


@pytest.mark.parametrize(
    "headers",
    [
        PAGE,
        {"Host": "LocalHost:4200"},  # RFC 9110, 4.2.3: upper and lower case are the same
        {"Host": "[::1]:4200", "Origin": "http://localhost:4200"},
        {"Host": "localhost"},
    ],
    ids=str,
)
def test_pages_of_the_server_and_programs_are_let_through(headers: dict[str, str]) -> None:
    assert LocalPagesOnly(no_application).refusal(scope(headers)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},  # HTTP/1.0
        {"Host": ""},
        {"Host": "127.0.0.1:4200:80"},
        {"Host": "127.0.0.1:4200\n"},
        {"Host": "localhost.:4200"},
        {"Host": "0.0.0.0:4200"},
        {"Host": "user@127.0.0.1:4200"},
        {**PAGE, "Origin": "https://127.0.0.1:4200"},
        {**PAGE, "Origin": "http://127.0.0.1"},
        {**PAGE, "Origin": "http://127.0.0.1:4200, http://evil.example"},
        {**PAGE, "Origin": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_other_names_and_other_pages_are_refused(headers: dict[str, str], method: str) -> None:
    assert LocalPagesOnly(no_application).refusal(scope(headers, method))


def refusal(headers: dict[str, str], path: str = "/", query: bytes = b"") -> str | None:
    return KeyHoldersOnly(no_application, "LOCALKEY").refusal(scope(headers, "POST", path, query))


@pytest.mark.parametrize(
    "path", ["/_ministack/health/", "//_ministack/health", "/_ministack/health/../reset", "/health"]
)
def test_only_the_one_open_path_needs_no_key(path: str) -> None:
    assert refusal({"Host": "127.0.0.1:4566"}, "/_ministack/health") is None
    assert refusal({"Host": "127.0.0.1:4566"}, path)


def test_the_key_is_in_the_header_or_in_the_query_and_the_header_decides() -> None:
    assert refusal(CREDENTIAL) is None
    query = b"X-Amz-Credential=LOCALKEY%2F20260101%2Fx%2Fs3"
    assert refusal({"Host": "127.0.0.1:4566"}, query=query) is None
    other = CREDENTIAL | {"Authorization": "AWS4-HMAC-SHA256 Credential=test/x, Credential=LOCALKEY/x"}
    assert refusal(other, query=query)
    assert refusal({"Host": "127.0.0.1:4566"}, query=b"X-Amz-Credential=LOCALKEYS%2Fx")
