"""The signature is the one that botocore makes."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from blocks.domain.errors import CredentialsInvalidError
from blocks.dynamodb.signing import CONTENT_TYPE, TARGET, Signer

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
SIGNER = Signer("dynamodb.eu-central-1.amazonaws.com", "/", "eu-central-1", "dynamodb", "tests")


def credentials_of(secret: str, token: str | None = None) -> Any:  # noqa: ANN401 - its stubs know keys that are None
    return ReadOnlyCredentials("AKIDEXAMPLE", secret, token)


def signed_by_botocore(url: str, region: str, body: bytes, keys: Any) -> tuple[str, datetime]:  # noqa: ANN401
    """The Authorization header that botocore makes, and when it made it."""
    request = AWSRequest("POST", url, {"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET}, body)
    SigV4Auth(keys, "dynamodb", region).add_auth(request)
    moment = datetime.strptime(request.context["timestamp"], SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    return request.headers["Authorization"], moment


@given(
    body=st.binary(max_size=5_000),
    keys=st.builds(credentials_of, TEXT, st.none() | TEXT),
    region=st.sampled_from(["eu-central-1", "us-gov-west-1"]),
    host=st.sampled_from(["dynamodb.eu-central-1.amazonaws.com", "127.0.0.1:8000", "[::1]:8000"]),
    path=st.sampled_from(["/", "/behind/a~gateway"]),
)
def test_a_request_is_signed_as_botocore_signs_it(body: bytes, keys: Any, region: str, host: str, path: str) -> None:  # noqa: ANN401
    expected, moment = signed_by_botocore(f"http://{host}{path}", region, body, keys)
    signer = Signer(host, path, region, "dynamodb", "tests", now=lambda: moment)
    for _ in range(2):  # the second time with the day's key from the first
        assert expected == signer.headers(body, keys)["authorization"]


def test_a_new_day_a_new_key_and_new_credentials_are_noticed() -> None:
    signer = Signer("127.0.0.1", "/", "eu-central-1", "dynamodb", "tests")
    for secret in ("one", "two"):
        keys = credentials_of(secret)
        expected, moment = signed_by_botocore("http://127.0.0.1/", "eu-central-1", b"{}", keys)
        for days in (-1, 0):
            signer.now = partial(datetime.__add__, moment, timedelta(days=days))
            authorization = signer.headers(b"{}", keys)["authorization"]
            assert (days == 0) == (expected == authorization)


@pytest.mark.parametrize("bad", ["token\r\nx-forged: 1", "token\nx-forged:1", "token\x00"])
def test_a_control_character_is_never_signed_as_part_of_a_header(bad: str) -> None:
    other_key: Any = ReadOnlyCredentials(bad, "x", None)
    for keys in (credentials_of("x", bad), other_key):
        with pytest.raises(CredentialsInvalidError) as raised:
            SIGNER.headers(b"{}", keys)
        assert "token" not in str(raised.value).replace("session token", "")


def test_no_secret_is_in_what_a_log_would_show() -> None:
    SIGNER.headers(b"{}", credentials_of("made-up-secret", "made-up-token"))
    assert "made-up" not in repr(SIGNER)
    assert "_days_key" not in repr(SIGNER)
