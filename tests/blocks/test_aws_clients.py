"""One session for each set of credentials, one client of each service: making them costs more than a run's calls."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import JSONFileLoader
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.aws_clients import client_of, renewed_client


def credentials_of(name: str) -> AwsCredentials:
    return AwsCredentials(aws_access_key_id=name, aws_secret_access_key=SecretStr("x"), region_name="eu-central-1")


def test_threads_that_ask_at_once_get_one_client_and_services_share_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    session = AwsCredentials.get_boto3_session

    def counted(credentials: AwsCredentials) -> boto3.Session:
        made.append(str(credentials.aws_access_key_id))
        return session(credentials)

    monkeypatch.setattr(AwsCredentials, "get_boto3_session", counted)
    asked = ["s3"] * 8 + ["dynamodb"] * 8
    with ThreadPoolExecutor(len(asked)) as threads:
        clients = list(threads.map(lambda service: client_of(credentials_of("shared"), service), asked))
    assert 2 == len(set(map(id, clients)))
    assert ["shared"] == made


def test_other_credentials_get_another_client_and_renewed_ones_too() -> None:
    first = client_of(credentials_of("ours"), "dynamodb")
    others: list[Any] = [
        client_of(credentials_of("theirs"), "dynamodb"),
        renewed_client(credentials_of("ours"), "dynamodb"),
    ]
    assert first not in others
    assert first is client_of(credentials_of("ours"), "dynamodb")


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data files that botocore reads from now on."""
    read: list[str] = []
    load = JSONFileLoader.load_file

    def noted(loader: JSONFileLoader, file_path: str) -> object:
        content = load(loader, file_path)
        read.extend([file_path] if content is not None else [])
        return content

    monkeypatch.setattr(JSONFileLoader, "load_file", noted)
    return read


def test_sessions_share_what_botocore_has_read(files_read: list[str]) -> None:
    renewed_client(credentials_of("first"), "sesv2")
    files_read.clear()
    renewed_client(credentials_of("second"), "sesv2")
    assert [] == files_read


def test_a_data_path_of_the_user_is_read(
    files_read: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "endpoints.json").write_text('{"partitions": [], "version": 3}', encoding="utf-8")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    renewed_client(credentials_of("ours"), "sesv2")
    assert any(path.startswith(str(tmp_path)) for path in files_read)


def test_a_renewal_without_an_answer_leaves_time_for_another_one() -> None:
    config = client_of(AwsCredentials(region_name="eu-central-1"), "dynamodb").meta.config
    assert (5, 20) == (config.connect_timeout, config.read_timeout)


def test_the_settings_of_the_credentials_block_come_first() -> None:
    own = AwsClientParameters(config={"read_timeout": 7})
    config = client_of(AwsCredentials(region_name="eu-central-1", aws_client_parameters=own), "dynamodb").meta.config
    assert (5, 7) == (config.connect_timeout, config.read_timeout)
