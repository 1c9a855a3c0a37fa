"""What the pages say against what the code has."""

import inspect
import re
from pathlib import Path

import pytest
import typer.main
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it carries no types
from prefect.settings import Settings as PrefectSettings
from prefect.settings.legacy import _get_valid_setting_names

from deployments.cli import app
from deployments.doctor import all_checks
from deployments.embedded.processes import DATA_DIR_VARIABLE
from deployments.settings import Settings
from flows.report import final_state_name
from flows.rows.rules import REASONS

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
OPERATIONS = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_each_finding_of_the_doctor_is_in_the_runbook() -> None:
    assert [] == [check.name for check in all_checks() if f"`{check.name}`" not in OPERATIONS]


def _code(text: str) -> list[str]:
    """What stands between backticks, or in blocks that are indented or fenced."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(?! *[-*] ).*", text, re.MULTILINE)
    return [*fenced, *indented, *re.findall(r"`([^`\n]+)`", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_options_and_settings_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = typer.main.get_group(app).commands
    for name, rest in re.findall(
        r"(?:^|[(;&] ?)\s*sensor-ingest ([a-z]+)\b([^`|\n#)]*)", "\n".join(_code(text)), re.MULTILINE
    ):
        assert name in commands, name
        options = {option for each in commands[name].params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options | {"--help"}, (name, rest)
    known = {f"SENSOR_INGEST_{field.upper()}" for field in Settings.model_fields} | {DATA_DIR_VARIABLE}
    assert set(re.findall(r"SENSOR_INGEST_[A-Z_]+", text)) <= known


def test_parameters_outputs_and_paths_on_the_page_about_aws_exist() -> None:
    text = (PROJECT / "docs" / "aws.md").read_text(encoding="utf-8")
    code = "\n".join(_code(text))
    templates = {
        name: cfn_yaml.loads((PROJECT / "deployments" / "aws" / name).read_text(encoding="utf-8"))
        for name in ("stack.yaml", "ecs.yaml")
    }
    deploys = re.findall(
        r"--template-file deployments/aws/(\S+) (.*?--parameter-overrides.*)", code.replace("\\\n", " ")
    )
    assert {"stack.yaml", "ecs.yaml"} == {name for name, _ in deploys}
    for name, rest in deploys:
        assert set(re.findall(r"\b([A-Z][A-Za-z]+)=", rest)) <= templates[name]["Parameters"].keys(), name
    outputs = set(re.findall(r"\$\(output (\w+)", code))
    assert outputs <= templates["stack.yaml"]["Outputs"].keys() | templates["ecs.yaml"]["Outputs"].keys()
    for path in re.findall(r"\bdeployments/[\w./*-]+", code):
        assert list(PROJECT.glob(path)), path
    described = "".join(re.findall(r"^\| `.*", text, re.MULTILINE))
    for name, template in templates.items():
        assert [] == [each for each in template["Parameters"] if f"`{each}`" not in described], name


def test_settings_of_prefect_on_the_page_about_aws_are_prefects() -> None:
    text = (PROJECT / "docs" / "aws.md").read_text(encoding="utf-8")
    named = set(re.findall(r"PREFECT_[A-Z_]*[A-Z]", text)) - {"PREFECT_AUTH_STRING"}  # which Prefect does not read
    assert named <= _get_valid_setting_names(PrefectSettings)


def test_each_make_target_is_in_the_table_for_contributors() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)) - {"help"}
    page = (PROJECT / "docs" / "contributing.md").read_text(encoding="utf-8")
    assert targets == set(re.findall(r"^\| `make ([a-z-]+)`", page, re.MULTILINE))
    folders = {path.parent.relative_to(PROJECT).parts[1] for path in (PROJECT / "tests").glob("*/**/test_*.py")}
    assert folders == set(re.findall(r"`tests/(\w+)`", page.split("| folder |")[1]))


def test_reasons_are_those_of_the_code() -> None:
    listed = OPERATIONS.split("one of these reasons:")[1].split("\n\n")[0]
    assert set(REASONS) == set(re.findall(r"`(\w+)`", listed))


def test_run_states_are_those_of_the_code() -> None:
    listed = OPERATIONS.split("## How a run ends")[1].split("A row is refused")[0]
    rows = [line.split("|")[1] for line in listed.splitlines() if line.startswith("| `")]
    body = inspect.getsource(final_state_name)
    assert set(re.findall(r'return "(\w+)"', body)) == set(re.findall(r"`(\w+)`", " ".join(rows)))
