"""What the command line says of words that it cannot make sense of."""

from pathlib import Path
from typing import Any

import pytest
import typer
from click import Command
from typer.main import get_command
from typer.testing import CliRunner

from deployments.cli import app
from deployments.commands.options import json_alone


def said_of(*words: str) -> str:
    """What the usage error says, without its frame."""
    result = CliRunner().invoke(app, list(words))
    assert 2 == result.exit_code
    return " ".join(result.stderr.replace("\u2502", "").split())


@pytest.mark.parametrize("address", ["my-readings.csv", "s3://bucket", "s3:///key", "https://bucket/key"])
def test_what_is_no_address_in_s3_is_named_with_what_would_upload_it(address: str) -> None:
    said = said_of("run", address)
    assert f"not an S3 address: {address!r}" in said
    assert "sensor-ingest put" in said


def test_files_of_one_name_are_not_put_over_each_other(tmp_path: Path) -> None:
    files = [tmp_path / folder / "sensors.csv" for folder in ("north", "south")]
    for file in files:
        file.parent.mkdir()
        file.touch()
    assert "two have the same name" in said_of("put", *map(str, files))
    assert "--key names one file" in said_of("put", *map(str, files), "--key", "north.csv")


@pytest.mark.parametrize(
    "words",
    [
        ("up", "--prefect-port", "65536"),
        ("up", "--aws-port", "99999999999999999999"),
        ("relay", "--metrics-port", "-1"),
        ("history", "--limit", "1000001"),
    ],
)
def test_a_number_out_of_range_is_a_usage_error_that_names_the_option(words: tuple[str, ...]) -> None:
    said = said_of(*words)
    assert f"Invalid value for '{words[1]}'" in said
    assert "Input should be" in said


def test_every_command_can_print_one_json_document() -> None:
    commands = commands_of(get_command(app))
    assert len(commands) > 10
    assert [] == [command.name for command in commands if "--json" not in options_of(command)]


def commands_of(command: Any) -> list[Command]:  # noqa: ANN401 - Typer has a copy of Click
    """The command, or those of its group and of the groups in it."""
    parts = getattr(command, "commands", None)
    return [command] if parts is None else [each for part in parts.values() for each in commands_of(part)]


def options_of(command: Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_what_is_printed_besides_a_document_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with json_alone(as_json=True) as show:
        typer.echo("starting")
        show("{}")
        typer.echo("stopping")
    assert capsys.readouterr() == ("{}\n", "starting\nstopping\n")


def test_without_a_document_all_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with json_alone(as_json=False) as show:
        typer.echo("starting")
        show("{}")
    assert capsys.readouterr() == ("starting\n", "")
