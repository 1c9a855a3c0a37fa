"""The command `history`, on what runs have written."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from blocks.domain.models import SensorFile
from deployments.cli import app
from flows.ingest import ingest_sensor_files
from tests.support.world import World


@pytest.fixture
def uri(world: World) -> str:
    uri = world.put("0030-0001,1483906366,1\n", "incoming/history.csv")
    ingest_sensor_files([SensorFile.model_validate(uri)], 0, return_state=True)
    return uri


def history(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["history", *arguments], catch_exceptions=False)
    assert 0 == result.exit_code, result.output
    return result.stdout


def test_history_prints_a_file_as_json_and_as_text_and_writes_a_page(uri: str, tmp_path: Path) -> None:
    entries = json.loads(history("--file", uri, "--json"))
    assert [("archived", 1, uri)] == [(e["status"], e["accepted"], f"s3://{e['bucket']}/{e['key']}") for e in entries]
    assert {"claimed_at", "finished_at", "landed_at", "notified_at", "flow_run_id", "version"} <= set(entries[0])
    assert uri in history("--since", "1h")
    assert uri in history("--limit", "1"), "the latest"
    page = tmp_path / "history.html"
    assert [] == json.loads(history("--since", "2999-01-01", "--json"))
    history("--html", str(page))
    assert "history.csv" in page.read_text()


def test_a_text_that_is_neither_an_age_nor_a_date_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["history", "--since", "yesterday"])
    assert 2 == result.exit_code
    assert "neither an age" in result.output
