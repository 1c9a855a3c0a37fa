"""Commands without a server, an endpoint or credentials say so in words."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from deployments import cli

NOBODY = "http://127.0.0.1:9"
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def _said(command: str, environment: dict[str, str], home: Path) -> str:
    foreign = ("AWS_", "PREFECT_", "SENSOR_INGEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", command],
        env=kept | environment | {"HOME": str(home), "PREFECT_CLIENT_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 1 == done.returncode, done.stderr
    assert "sensor-ingest env" in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["sweep", "deploy", "relay"])
def test_no_temporary_server_takes_the_place_of_one_that_is_not_named(tmp_path: Path, command: str) -> None:
    assert _said(command, AWS, tmp_path).startswith("sensor-ingest: PREFECT_API_URL is not set")


@pytest.mark.parametrize(
    ("command", "environment", "said"),
    [
        ("deploy", AWS, f"No Prefect server answers at PREFECT_API_URL, {NOBODY}/api."),
        ("history", AWS, f"No Prefect server answers at PREFECT_API_URL, {NOBODY}/api."),
        ("relay", AWS | {"AWS_MAX_ATTEMPTS": "1"}, "AWS does not answer: "),
        ("relay", {"AWS_DEFAULT_REGION": "us-east-1"}, "There are no AWS credentials"),
        ("relay", {}, "No AWS region is named"),
    ],
)
def test_what_does_not_answer_is_named_with_the_remedy(
    tmp_path: Path, command: str, environment: dict[str, str], said: str
) -> None:
    nobody = {"AWS_ENDPOINT_URL": NOBODY, "PREFECT_API_URL": f"{NOBODY}/api", "AWS_EC2_METADATA_DISABLED": "true"}
    heard = _said(command, nobody | environment, tmp_path)
    assert heard.startswith(f"sensor-ingest: {said}"), heard


@pytest.mark.parametrize(
    "error",
    [
        S3UploadFailedError("Failed to upload x to b/k: An error occurred (AccessDenied)"),
        ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject"),
    ],
    ids=["upload", "read"],
)
def test_what_aws_refuses_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def refused() -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "app", refused)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.startswith("sensor-ingest: AWS refused it: ")
