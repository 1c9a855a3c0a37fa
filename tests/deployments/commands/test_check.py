"""The command `sensor-ingest check`."""

import csv
import json
import os
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.commands.check import validation

if TYPE_CHECKING:
    from tests.support.servers import Aws

DATA = Path(__file__).parents[2] / "data"
ROW = "0000-0001,1483906366,10.10\n"
COUNTS = ["lines", "header", "blank", "rows", "accepted", "replaced", "rejected"]


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "exit_code"), [("tutorial", 0), ("three_in_thirty", 3), ("four_in_thirty", 4), ("png", 4)]
)
def test_the_exit_code_says_what_would_become_of_the_file(name: str, exit_code: int) -> None:
    assert exit_code == check(DATA / f"{name}.csv").exit_code


def test_the_document_holds_counts_verdict_reasons_and_first_rejects() -> None:
    path = DATA / "three_in_thirty.csv"
    expected = json.loads((DATA / "three_in_thirty.expected.json").read_text())
    kept = {key: expected[key] for key in [*COUNTS, "verdict", "reasons", "first_rejects"]}
    result = check(path, "--json")
    *_, items = json.loads(result.stdout).items()
    assert {"feed": "sensor-readings", "file": str(path), **kept, items[0]: items[1]} == json.loads(result.stdout)
    first = {"sensor_id": {"S": "0000-0001"}, "timestamp": {"N": "1483906366"}, "value": {"N": "0.5"}}
    assert ("first_accepted", 3, first) == (items[0], len(items[1]), items[1][0])
    assert "" == result.stderr


def test_the_document_of_a_refused_file_says_why() -> None:
    assert "looks like a PNG image" == json.loads(check(DATA / "png.csv", "--json").stdout)["refusal"]


def test_the_text_says_it_in_words_with_the_first_rejects() -> None:
    expected = f"""{DATA}/header_in_another_order.csv: refused: 1 of 3 rows (33.3 %) break a rule; the limit is 10 %
  4 lines: 1 header, 0 blank, 3 rows
  3 rows: 2 valid, 0 replaced by a later row with the same key, 1 rejected
  1 rejected for value
    line 4, value: "1,5",0000-0003,1483906368
"""
    assert expected == check(DATA / "header_in_another_order.csv").stdout


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"type": "date"}, "as 2026-01-31"),
        ({"type": "datetime"}, "as 2026-01-31T23:59:59Z"),
        ({"type": "datetime", "format": "epoch-milliseconds"}, "milliseconds since 1970"),
        ({"type": "datetime", "format": "%d.%m.%Y %H:%M"}, "%d.%m.%Y %H:%M"),
    ],
)
def test_the_text_says_which_format_of_a_date_is_expected(
    declared: dict[str, str], expected: str, tmp_path: Path
) -> None:
    fields = [{"name": "at", **declared}, {"name": "level", "type": "number"}]
    descriptor = {"name": "levels", "prefix": "incoming/levels/", "schema": {"fields": fields, "primaryKey": ["at"]}}
    (tmp_path / "levels.json").write_text(json.dumps(descriptor))
    path = tmp_path / "levels.csv"
    path.write_text("at,level\nyesterday,1\nyesterday,one\n")
    assert f"  2 rejected for at (expected: {expected})\n" in check(path, "--feed", tmp_path / "levels.json").stdout


def test_the_text_shows_no_control_character_of_a_loaded_row(tmp_path: Path) -> None:
    fields = [{"name": "at", "type": "string"}, {"name": "level", "type": "number"}]
    descriptor = {"name": "levels", "prefix": "incoming/levels/", "schema": {"fields": fields, "primaryKey": ["at"]}}
    (tmp_path / "levels.json").write_text(json.dumps(descriptor))
    path = tmp_path / "levels.csv"
    path.write_text("at,level\n\x1b[2Jaccepted,1\n")
    assert r"    at=\x1b[2Jaccepted (S), level=1 (N)" in check(path, "--feed", tmp_path / "levels.json").stdout


def test_the_text_says_how_many_rejects_it_leaves_out() -> None:
    assert check(DATA / "ragged.csv").stdout.endswith("    and 2 more\n")


def test_rejects_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    check(DATA / "ragged.csv", "--rejects", tmp_path / "rejects.csv")
    rows = list(csv.DictReader((tmp_path / "rejects.csv").open(encoding="utf-8")))
    assert 12 == len(rows)
    assert {"line": "1", "reason": "field_count", "text": "0000-0001"} == rows[0]


def test_all_rejects_are_written_however_many_they_are(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"x\n" * 10_001)
    check(tmp_path / "bad.csv", "--rejects", tmp_path / "rejects.csv")
    rows = list(csv.DictReader((tmp_path / "rejects.csv").open(encoding="utf-8")))
    assert (10_001, "10001", "field_count") == (len(rows), rows[-1]["line"], rows[-1]["reason"])


def test_without_rejects_the_file_of_an_earlier_check_is_not_left_as_it_was(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    rejects.write_text("of another file")
    check(DATA / "tutorial.csv", "--rejects", rejects)
    assert '"line","reason","text"\n' == rejects.read_text()


def test_checking_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check(DATA / "three_in_thirty.csv")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["no_such_file.csv", ".", "s3://bucket"])
def test_a_file_that_can_not_be_read_is_an_error_in_usage(file: str) -> None:
    result = check(file)
    assert 2 == result.exit_code
    assert file in result.stderr


def test_elsewhere_than_on_a_terminal_a_large_file_makes_a_line_for_a_tenth_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "LARGE_BYTES", 1)
    path = tmp_path / "large.csv"
    path.write_bytes(b"0000-0001,1483906366,10.10\n" * 400_000)
    result = check(path, "--json")
    percents = [int(line.removeprefix(f"checking {path}: ").removesuffix(" %")) for line in result.stderr.splitlines()]
    assert sorted({percent // 10 * 10 for percent in percents}) == percents
    assert (True, 100) == (len(percents) > 2, percents[-1])
    assert 1 == json.loads(result.stdout)["accepted"]


def test_on_a_terminal_a_large_file_shows_a_bar(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_bytes(b"0000-0001,1483906366,10.10\n" * 700_000)
    terminal, end_of_command = os.openpty()
    command = [sys.executable, "-m", "deployments.cli", "check", str(path), "--json"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end_of_command, env=environment) as checking:
        os.close(end_of_command)
        shown = all_of(terminal)
        assert checking.stdout
        document = json.load(checking.stdout)
    assert 0 == checking.returncode
    assert "checking" in shown
    assert "MB" in shown
    assert 1 == document["accepted"]


def all_of(terminal: int) -> str:
    """What is shown until the command ends: a terminal holds 4 kB, and lets the command wait until they are read."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen, suppress(OSError):  # EIO: nobody writes any more
        while piece := screen.read(4096):
            shown += piece
    return shown.decode()


@pytest.fixture
def bucket(aws: "Aws", monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"check-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    credentials = aws.session.get_credentials()
    assert credentials
    settings = {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_DEFAULT_REGION": aws.session.region_name,
    }
    for variable, value in settings.items():
        monkeypatch.setenv(variable, str(value))
    return name


def test_an_object_is_checked_as_a_file_is_and_stays_where_it_is(aws: "Aws", bucket: str) -> None:
    uri = f"s3://{bucket}/incoming/größe & co+1%.csv"
    client: Any = aws.client("s3")
    client.put_object(Bucket=bucket, Key="incoming/größe & co+1%.csv", Body=(DATA / "gzip.csv").read_bytes())
    document = json.loads(check(uri, "--json").stdout)
    assert (uri, 5, 1, "refused") == (document["file"], document["lines"], document["rejected"], document["verdict"])
    assert ["incoming/größe & co+1%.csv"] == [
        found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]
    ]


def test_an_object_that_is_not_there_is_named(bucket: str) -> None:
    result = check(f"s3://{bucket}/incoming/nothing.csv")
    assert f"s3://{bucket}/incoming/nothing.csv does not exist" in str(result.exception)


def test_the_rejects_do_not_overwrite_the_file_that_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(ROW + "bad\n")
    assert 2 == check(file, "--rejects", file).exit_code
    assert ROW + "bad\n" == file.read_text()


def test_the_rejects_of_a_file_without_any_do_not_overwrite_it(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(ROW)
    assert 2 == check(file, "--rejects", file).exit_code
    assert ROW == file.read_text()


@pytest.mark.parametrize("uri", ["s3://Bad_Bucket!/x"])
def test_an_address_that_s3_does_not_allow_is_wrong_use(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = check(uri)
    assert (2, True) == (result.exit_code, "is no address of an object" in result.output), result.output
