"""What `deploy` saves for runs: keys of an emulator on this machine, and never those of a person."""

import pytest

from deployments.server.deploy import aws_credentials
from deployments.settings import Settings


@pytest.fixture(autouse=True)
def persons_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAPERSON",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566"])
def test_runs_get_the_keys_of_an_emulator_on_this_machine(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    saved = aws_credentials(Settings())
    assert ("AKIAPERSON", endpoint) == (saved.aws_access_key_id, saved.aws_client_parameters.endpoint_url)


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        "https://vpce-0a1b2c3d.dynamodb.eu-central-1.vpce.amazonaws.com",
        "http://10.0.0.5:4566",
        "http://localhost.evil.example:4566",
        "http://127.0.0.1@evil.example/",
    ],
)
def test_for_any_other_endpoint_runs_get_the_endpoint_and_not_a_persons_keys(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    saved = aws_credentials(Settings())
    assert (None, None, endpoint) == (
        saved.aws_access_key_id,
        saved.aws_secret_access_key,
        saved.aws_client_parameters.endpoint_url,
    )
    assert "eu-central-1" == saved.region_name
