"""The reference pages against the code: what is documented exists, and what exists is documented."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from textwrap import indent
from typing import Any, get_args

import pytest
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it carries no types
from prefect import Flow
from prefect.blocks.core import Block
from prefect.settings import Settings as PrefectSettings
from prefect.settings.legacy import _get_valid_setting_names
from typer.testing import CliRunner

from blocks.domain import names as domain_names
from blocks.domain.errors import SensorIngestError
from blocks.domain.feed.descriptor import Constraints, Dialect, Feed, Field, Schema, Storage
from blocks.domain.feed.properties import Described
from blocks.domain.models import SETTLED, FileStatus, LedgerEntry, RowCounts, Verdict
from blocks.feeds import FeedBlock
from blocks.saved_blocks import BLOCK_TYPES
from deployments.cli import app
from deployments.doctor import all_checks
from deployments.relay.metrics import RelayMetrics, RelayMonitor
from deployments.settings import Settings
from flows.ingest import ingest_sensor_files
from flows.loading.large_files import LargeFiles
from flows.notify import notify
from flows.report import final_state_name
from flows.rows.reasons import Reasons
from flows.sweep import sweep
from tests.support.commands import all_commands
from tests.support.pages import PAGES, PROJECT, Page, names, page, rows

COMMANDS = page("docs/reference/commands.md")
SETTINGS = page("docs/reference/settings.md")
LEDGER = page("docs/reference/ledger.md")
PACKAGES = ("blocks", "flows", "deployments")
MODULES = [path for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))]
FLOWS: dict[str, Flow[..., Any]] = {each.name: each for each in (ingest_sensor_files, notify, sweep)}


# ---- Commands -------------------------------------------------------------------------------------------------------


def test_every_command_is_listed_with_all_its_options() -> None:
    listed = [row for row in rows(COMMANDS.text, "command") if len(row) == 3]
    assert _options() == {
        re.split(r" (?=\[?[A-Z])", row[0].strip("`"))[0]: set(re.findall(r"`(--[a-z-]+)`", row[2])) for row in listed
    }


def test_the_json_of_every_command_is_described() -> None:
    described = [row[0].strip("`") for row in rows(COMMANDS.text, "command") if len(row) == 2]
    assert sorted(name for name, options in _options().items() if "--json" in options) == sorted(described)


def _options() -> dict[str, set[str]]:
    """The options of each command, without --help."""
    return {
        name: {option for each in command.params for option in each.opts if option.startswith("--")} - {"--help"}
        for name, command in all_commands().items()
    }


# ---- Rows, runs, ledger ---------------------------------------------------------------------------------------------


def test_reasons_are_those_of_the_code() -> None:
    assert sorted(Reasons(("NAME",)).names) == sorted(
        names([row[0] for row in rows(page("docs/reference/rows.md").text, "reason")])
    )


def test_verdicts_are_those_of_the_code() -> None:
    listed = names([row[0] for row in rows(page("docs/reference/rows.md").text, "verdict")])
    assert list(get_args(Verdict)) == listed


def test_counts_are_those_of_the_code() -> None:
    formulas = page("docs/reference/rows.md").section("Counts")
    assert set(RowCounts.model_fields) == set(
        re.findall(r"\b(\w+)\b", re.sub(r"^\S.*", "", formulas, flags=re.MULTILINE))
    )


def test_final_states_of_a_run_are_those_of_the_code() -> None:
    listed = [row[0].strip("`") for row in rows(page("docs/reference/run-states.md").text, "state") if len(row) == 4]
    assert set(re.findall(r'return "(\w+)"', inspect.getsource(final_state_name))) == set(listed)


def test_statuses_of_the_ledger_are_those_of_the_code() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows(LEDGER.text, "status")}
    assert {status: "yes" if status in SETTLED else "no" for status in get_args(FileStatus)} == listed


def test_fields_of_a_ledger_entry_are_those_of_the_code() -> None:
    assert sorted(LedgerEntry.model_fields) == sorted(names([row[0] for row in rows(LEDGER.text, "field")]))


def test_indexes_of_the_ledger_are_those_of_the_template() -> None:
    table = _template("stack.yaml")["Resources"]["FilesTable"]["Properties"]
    # What version 0.1 needed is within a condition.
    indexes = {index["IndexName"] for index in table["GlobalSecondaryIndexes"] if "Fn::If" not in index}
    assert indexes == set(names([row[0] for row in rows(LEDGER.text, "key or index")][1:]))


def test_properties_of_a_feed_are_those_of_the_code_with_their_defaults() -> None:
    feeds = page("docs/reference/feeds.md")
    informing = set(Described.model_fields)
    for heading, model in (
        ("Feed", Feed),
        ("Dialect", Dialect),
        ("Schema", Schema),
        ("Field", Field),
        ("Storage", Storage),
    ):
        listed = {
            name: row for row in rows(feeds.section(heading), "property") for name in re.findall(r"`(.+?)`", row[0])
        }
        declared = {
            each.alias: each.default
            for key, each in model.model_fields.items()
            if model is Feed or key not in informing
        }
        assert sorted(filter(None, declared)) == sorted(listed), heading
        texts = {
            name: each
            for name, each in declared.items()
            if isinstance(each, str) and name in listed and listed[name][1]
        }
        assert {name: each.encode("unicode_escape").decode() for name, each in texts.items()} == {
            name: listed[name][1].strip("`") for name in texts
        }
    constraints = names([row[0] for row in rows(feeds.section("Constraints"), "constraint")])
    assert sorted(str(each.alias) for each in Constraints.model_fields.values()) == sorted(constraints)


# ---- Doctor, errors, events, metrics --------------------------------------------------------------------------------


def test_findings_are_those_of_the_doctor() -> None:
    listed = names([row[0] for row in rows(page("docs/reference/doctor.md").text, "finding")])
    assert sorted(check.name for check in all_checks()) == sorted(listed)


def test_the_tutorial_shows_the_number_of_findings() -> None:
    count = len(all_checks())
    assert f"{count} checks: {count} ok" in page("docs/tutorial.md").text


def test_the_tutorial_shows_what_check_prints_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tutorial = page("docs/tutorial.md").text
    files = re.findall(r"printf '(.*)' > (\S+)", tutorial)
    assert ["readings.csv", "broken.csv", "soil.csv"] == [name for _, name in files]
    for content, name in files:
        Path(name).write_text(content.replace(r"\n", "\n"), encoding="utf-8")
    inferred = CliRunner().invoke(app, ["feed", "infer", "soil.csv"])
    Path("soil.json").write_text(inferred.stdout, encoding="utf-8")
    for arguments in (["readings.csv"], ["broken.csv"], ["soil.csv", "--feed", "soil.json"]):
        printed = CliRunner().invoke(app, ["check", *arguments]).output
        assert indent(printed, "    ") in tutorial
    assert indent(inferred.stderr, "    ") in tutorial


def _error_classes() -> dict[str, type[SensorIngestError]]:
    """The subclasses of SensorIngestError by name."""
    found: dict[str, type[SensorIngestError]] = {}
    for path in MODULES:
        classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
        if not any(node.name.endswith("Error") for node in classes):
            continue
        module = importlib.import_module(".".join(path.relative_to(PROJECT).with_suffix("").parts))
        for node in classes:
            defined = getattr(module, node.name)
            if issubclass(defined, SensorIngestError) and defined is not SensorIngestError:
                found[node.name] = defined
    return found


def test_errors_are_those_of_the_code_and_count_against_the_file_as_there() -> None:
    listed = {row[0].strip("`"): row[2] for row in rows(page("docs/reference/errors.md").text, "error")}
    assert {name: "yes" if each.blames_file else "no" for name, each in _error_classes().items()} == listed


def test_only_a_missing_object_is_looked_for_again_in_the_same_run() -> None:
    assert "except `ObjectMissingError`" in page("docs/reference/errors.md").text
    assert ["ObjectMissingError"] == [name for name, each in _error_classes().items() if each.retryable]


def test_events_are_those_of_the_code() -> None:
    template = (PROJECT / "deployments" / "aws" / "webhook.json.j2").read_text(encoding="utf-8")
    in_code = {
        value for value in vars(domain_names).values() if str(value).startswith(("sensor-file.", "sensor-files."))
    }
    in_code |= set(re.findall(r"sensor-files?\.\w+", template))
    assert in_code == set(re.findall(r"`(sensor-files?\.\w+)`", page("docs/reference/events.md").text))


def test_metrics_are_those_of_the_relay() -> None:
    listed = rows(page("docs/reference/metrics.md").text, "series")
    collected = RelayMonitor(RelayMetrics(), backlog=lambda: 1).collect()
    series = {f"{each.name}_total" if each.type == "counter" else each.name: each.type for each in collected}
    assert series == {row[0].strip("`"): row[1] for row in listed}


# ---- Settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_type", [*BLOCK_TYPES, FeedBlock], ids=lambda each: each.get_block_type_slug())
def test_fields_of_a_block_are_those_of_the_code_with_their_defaults(block_type: type[Block]) -> None:
    section = SETTINGS.section(block_type.get_block_type_slug())
    listed = {row[0].strip("`"): row[1] for row in rows(section, "field")}
    fields = {name: field for name, field in block_type.model_fields.items() if name not in Block.model_fields}
    assert sorted(fields) == sorted(listed)
    assert [] == [name for name, field in fields.items() if not _is_default(field.default, listed[name])]


def test_fields_of_large_files_are_those_of_the_code_with_their_defaults() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows(SETTINGS.section("Flow parameters"), "field")}
    assert sorted(LargeFiles.model_fields) == sorted(listed)
    fields = LargeFiles.model_fields.items()
    assert [] == [name for name, field in fields if not _is_default(field.default, listed[name])]


def _is_default(default: object, cell: str) -> bool:
    """Whether the cell starts with that default; defaults that are no text and no number are not compared."""
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return not isinstance(default, str | int | float) or cell.replace("`", "").startswith(str(default))


def test_parameters_of_the_flows_are_those_of_the_code() -> None:
    listed: dict[str, list[str]] = {}
    flow = ""
    for row in rows(SETTINGS.section("Flow parameters"), "flow"):
        flow = row[0].strip("`") or flow
        listed.setdefault(flow, []).append(row[1].strip("`"))
    assert {name: list(each.parameters.properties) for name, each in FLOWS.items()} == listed


def test_environment_variables_are_those_of_the_code() -> None:
    sources = " ".join(path.read_text(encoding="utf-8") for path in MODULES)
    in_code = set(re.findall(r"SENSOR_INGEST_[A-Z_]*[A-Z]", sources))
    in_code |= {
        f"SENSOR_INGEST_{name.upper()}" for name, field in Settings.model_fields.items() if not field.validation_alias
    }
    listed = set(names([row[0] for row in rows(SETTINGS.text, "variable")]))
    assert in_code == {name for name in listed if name.startswith("SENSOR_INGEST_")}


@pytest.mark.parametrize("each", PAGES, ids=str)
def test_variables_on_a_page_are_ours_or_prefects(each: Page) -> None:
    ours = set(names([row[0] for row in rows(SETTINGS.text, "variable")]))
    assert set(re.findall(r"SENSOR_INGEST_[A-Z_]*[A-Z]", each.text)) <= ours
    misread = {"PREFECT_AUTH_STRING"}  # decision 50: prefect-aws sets it, and Prefect does not read it
    assert set(re.findall(r"PREFECT_[A-Z_]*[A-Z]", each.text)) <= _get_valid_setting_names(PrefectSettings) | misread


# ---- AWS ------------------------------------------------------------------------------------------------------------


def _template(name: str) -> Any:  # noqa: ANN401 - YAML of any shape
    return cfn_yaml.loads((PROJECT / "deployments" / "aws" / name).read_text(encoding="utf-8"))


def test_parameters_and_outputs_on_the_page_about_aws_are_those_of_the_templates() -> None:
    about_aws = page("docs/how-to/run-it-in-aws.md")
    code = "\n".join(about_aws.code)
    templates = {name: _template(name) for name in ("stack.yaml", "ecs.yaml", "feed.yaml", "monitoring.yaml")}
    deploys = re.findall(
        r"--template-file deployments/aws/(\S+) (.*?--parameter-overrides.*)", code.replace("\\\n", " ")
    )
    assert templates.keys() == {name for name, _ in deploys}
    for name, rest in deploys:
        assert set(re.findall(r"\b([A-Z][A-Za-z]+)=", rest)) <= templates[name]["Parameters"].keys(), name
    outputs = set(re.findall(r"\$\(output (\w+)", code))
    assert outputs <= templates["stack.yaml"]["Outputs"].keys() | templates["ecs.yaml"]["Outputs"].keys()
    described = set(names([row[0] for row in rows(about_aws.text, "parameter")]))
    assert {parameter for each in templates.values() for parameter in each["Parameters"]} == described


def test_parameters_and_outputs_on_the_page_about_terraform_are_those_of_the_templates() -> None:
    text = page("docs/how-to/terraform.md").text
    stacks = re.findall(r"deployments/aws/(\w+\.yaml)\"\)(.*?)\n}", text, re.DOTALL)
    assert {"stack.yaml", "monitoring.yaml"} == {name for name, _ in stacks}
    for name, body in stacks:
        given = set(re.findall(r"^    ([A-Z]\w+) += ", body, re.MULTILINE))
        required = {key for key, each in _template(name)["Parameters"].items() if "Default" not in each}
        assert required <= given <= _template(name)["Parameters"].keys(), name
    assert set(re.findall(r'outputs\["(\w+)"\]', text)) <= _template("stack.yaml")["Outputs"].keys()


# ---- Contributing ---------------------------------------------------------------------------------------------------


def test_make_targets_and_test_folders_are_in_the_tables_for_contributors() -> None:
    contribute = page("docs/how-to/contribute.md")
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)) - {"help"}
    assert targets == {
        name.removeprefix("make ") for name in names([row[0] for row in rows(contribute.text, "target")])
    }
    folders = {f"tests/{_top(path)}" for path in (PROJECT / "tests").glob("*/**/test_*.py")}
    assert folders == set(names([row[0] for row in rows(contribute.text, "folder")]))


def _top(path: Path) -> str:
    return path.relative_to(PROJECT).parts[1]
