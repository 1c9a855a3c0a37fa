"""The commands of examples/README.md, typed as they are there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner, Result

from deployments.cli import app
from tests.support.pages import PROJECT

README = PROJECT / "examples" / "README.md"
COMMANDS = re.findall(r"^    sensor-ingest (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
CHECKED = {
    "readings.csv": {"accepted": 40, "rejected": 0, "reasons": {}},
    "weather-2024-11-01.csv": {"accepted": 47, "rejected": 1, "reasons": {"quality": 1}},
    "2024-11.csv": {"accepted": 48, "rejected": 0, "reasons": {}},
}


def typed(command: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(PROJECT)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        return CliRunner().invoke(app, command.split())


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("check")])
def test_each_file_is_checked_by_its_feed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document: dict[str, Any] = json.loads(typed(f"{command} --json", monkeypatch).stdout)

    expected = CHECKED[Path(document["file"]).name]
    assert expected == {name: document[name] for name in expected}


def test_every_file_of_the_examples_is_in_a_command() -> None:
    files = {str(path.relative_to(PROJECT)) for path in (PROJECT / "examples").rglob("*.csv")}
    assert files == {word for command in COMMANDS for word in command.split() if word.startswith("examples/")}


def test_a_value_that_is_missing_is_no_attribute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = (PROJECT / "examples" / "weather-2024-11-01.csv").read_text(encoding="utf-8").splitlines()
    [missing] = [row for row in rows if ";NA;" in row]
    (tmp_path / "one.csv").write_text(f"{rows[0]}\n{missing}\n", encoding="utf-8")
    document = json.loads(typed(f"check {tmp_path / 'one.csv'} --feed weather-stations --json", monkeypatch).stdout)

    [item] = document["first_accepted"]
    assert {"station", "time", "temperature", "humidity", "pressure", "quality"} == set(item)


def test_what_is_inferred_from_an_example_accepts_its_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [command] = [each for each in COMMANDS if each.startswith("feed infer")]
    (tmp_path / "inferred.json").write_text(typed(command, monkeypatch).stdout, encoding="utf-8")
    checked = typed(f"check {command.split()[-1]} --feed {tmp_path / 'inferred.json'} --json", monkeypatch)

    assert (48, 0) == (json.loads(checked.stdout)["accepted"], json.loads(checked.stdout)["rejected"])
