"""The systemd units and their environment files: valid for systemd, with existing commands, options and settings."""

import configparser
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import prefect.cli.worker
import pytest
import typer.main
from prefect.settings import Settings as PrefectSettings
from prefect.settings.legacy import _get_valid_setting_names

from blocks.domain.names import WORK_POOL
from deployments import warm_starts
from deployments.cli import app
from deployments.embedded.services.prefect import _server_settings
from deployments.embedded.services.warm_process import MODULES, ONE_THREAD
from deployments.settings import Settings
from tests.support.commands import all_commands
from tests.support.pages import PROJECT

FOLDER: Final = PROJECT / "deployments" / "systemd"
INSTALLED: Final = "/opt/sensor-ingest/.venv/bin"
UNITS: Final = sorted(FOLDER.glob("*.service"))
EXAMPLES: Final = sorted(FOLDER.glob("*.example"))
WITH_SECRETS: Final = "set -a; . %d/secrets; exec "
"""What the shell of a unit does before the command; `%d` is the folder of the unit's credentials."""

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def service(unit: Path) -> configparser.SectionProxy:
    parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    parsed.read_string(unit.read_text(encoding="utf-8"))  # a duplicate line is an error
    return parsed["Service"]


def shell_line(unit: Path) -> str:
    """What the shell of the unit runs."""
    shell, option, line = shlex.split(service(unit)["ExecStart"])
    assert ["/bin/sh", "-c"] == [shell, option]
    return line


def variables(example: Path, *, commented: bool = False) -> dict[str, str]:
    """The variables that the file sets; with `commented`, also those in comments."""
    pattern = r"^#?([A-Z_]+)=(.*)$" if commented else r"^([A-Z_]+)=(.*)$"
    found = re.findall(pattern, example.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: value.strip("'") for name, value in found}


def test_there_is_a_unit_for_each_part() -> None:
    assert [unit.stem for unit in UNITS] == [f"sensor-ingest-{part}" for part in ("relay", "server", "warm", "worker")]


@each_unit
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_verifies_the_unit(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    here.write_text(unit.read_text(encoding="utf-8").replace(INSTALLED, str(Path(sys.executable).parent)))
    systemd = shutil.which("systemd-analyze") or ""
    verified = subprocess.run([systemd, "verify", "--man=no", here], check=False, capture_output=True, text=True)
    assert (0, "") == (verified.returncode, verified.stderr)


@each_unit
def test_the_command_of_a_unit_exists_and_accepts_its_options(unit: Path) -> None:
    program, *arguments = shlex.split(shell_line(unit).removeprefix(WITH_SECRETS))
    options = {argument for argument in arguments if argument.startswith("--")}
    name = Path(program).name
    assert f"{INSTALLED}/{name}" == program
    if name == "sensor-ingest":
        known = {option for each in typer.main.get_group(app).commands[arguments[0]].params for option in each.opts}
        assert options <= known
    elif arguments[0] == "worker":
        taken = str(inspect.signature(prefect.cli.worker.start))
        assert {option for option in options if f"'{option}'" not in taken} == set()
        assert arguments[arguments.index("--pool") + 1] == WORK_POOL
    elif name == "python":
        module, socket, *preloaded = arguments[1:]
        assert [warm_starts.__name__, *MODULES] == [module, *preloaded]
        assert service(unit)["WorkingDirectory"] == str(Path(socket).parent)
    else:
        assert [name, *arguments] == ["prefect", "server", "start"]


@each_unit
def test_a_unit_restarts_does_not_run_as_root_and_contains_no_secrets(unit: Path) -> None:
    settings = service(unit)
    assert settings["Restart"] == "always"
    assert settings["User"] not in ("", "root")
    assert settings["User"] == settings["Group"] == settings["StateDirectory"]
    assert f"/var/lib/{settings['User']}" == settings["WorkingDirectory"]
    assert "Environment" not in settings
    for name, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "CapabilityBoundingSet": "",
        "KillMode": "mixed",
        "UMask": "0077",
    }.items():
        assert settings[name] == value, name
    assert re.fullmatch(r"[1-9]0%", settings["MemoryMax"])


def test_each_unit_has_a_user_of_its_own_but_for_the_process_that_forks_the_workers_runs() -> None:
    users = {unit.stem.removeprefix("sensor-ingest-"): service(unit)["User"] for unit in UNITS}
    assert users.pop("warm") == users["worker"]
    assert len(users) == len(set(users.values()))
    assert {"continue"} == {
        service(FOLDER / f"sensor-ingest-{part}.service")["OOMPolicy"] for part in ("warm", "worker")
    }


def test_the_server_cannot_ask_for_the_machines_credentials() -> None:
    """The addresses of the instance metadata service. Source: "Instance metadata options" of the EC2 user guide."""
    denied = {unit.stem: service(unit).get("IPAddressDeny", "").split() for unit in UNITS}
    assert ["169.254.169.254", "fd00:ec2::254"] == denied.pop("sensor-ingest-server")
    assert [[]] * 3 == list(denied.values())  # relay and runs have the machine's role


@each_unit
def test_a_unit_reads_its_secrets_from_a_credential_and_its_process_is_the_command(unit: Path, tmp_path: Path) -> None:
    name, source = service(unit)["LoadCredential"].split(":")
    assert source.replace(".secrets", ".env") == service(unit)["EnvironmentFile"]
    shutil.copy(FOLDER / f"{Path(source).name}.example", tmp_path / name)
    line = shell_line(unit)
    assert line.startswith(WITH_SECRETS)
    shown = f"exec {sys.executable} -c 'import os, json; print(json.dumps([os.getpid(), dict(os.environ)]))'"
    shell = ["/bin/sh", "-c", WITH_SECRETS.replace("%d", str(tmp_path)).removesuffix("exec ") + shown]
    with subprocess.Popen(shell, env={}, stdout=subprocess.PIPE, text=True) as process:
        pid, environment = json.loads(process.communicate()[0])
    assert process.pid == pid  # systemd's MAINPID
    expected = variables(FOLDER / f"{Path(source).name}.example")
    assert expected
    assert expected.items() <= environment.items()


WORKER: Final = """
import subprocess, sys
run = subprocess.Popen(["sleep", "60"])
print("started", flush=True)
print(run.wait(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(shutil.which("pkill") is None, reason="the worker's unit needs pkill, of procps")
def test_a_stopping_worker_terminates_its_runs_first() -> None:
    settings = service(FOLDER / "sensor-ingest-worker.service")
    assert int(settings["TimeoutStopSec"]) >= 30
    stop = shlex.split(settings["ExecStop"].removeprefix("-"))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == "started\n"
        subprocess.run(stop, check=True, env={**os.environ, "MAINPID": str(worker.pid)}, timeout=30)
        assert f"{-signal.SIGTERM}\n" == worker.stdout.readline()
        assert worker.poll() is None, "the worker received the signal, too"


@each_unit
def test_each_environment_file_has_an_example(unit: Path) -> None:
    assert (FOLDER / f"{Path(service(unit)['EnvironmentFile']).name}.example").is_file()
    assert (FOLDER / f"{Path(service(unit)['LoadCredential']).name}.example").is_file()


@each_example
def test_examples_set_existing_settings_to_valid_values(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefects = {name for name in variables(example, commented=True) if name.startswith("PREFECT_")}
    assert prefects <= set(_get_valid_setting_names(PrefectSettings))
    ours = {name for name in variables(example) if name.startswith("SENSOR_INGEST_")}
    of_commands = {str(each.envvar) for command in all_commands().values() for each in command.params if each.envvar}
    assert ours <= {f"SENSOR_INGEST_{field.upper()}" for field in Settings.model_fields} | of_commands
    for name, value in variables(example, commented=True).items():
        monkeypatch.setenv(name, value)
    assert PrefectSettings()
    assert Settings()


def test_the_server_has_the_batch_settings_of_the_embedded_one() -> None:
    embedded = {name: value for name, value in _server_settings(4200, "").items() if "_SERVICES_" in name}
    assert embedded.items() <= variables(FOLDER / "server.env.example").items()


def test_libraries_start_no_threads_in_the_warm_process() -> None:
    assert ONE_THREAD.items() <= variables(FOLDER / "client.env.example").items()


def test_the_warm_process_sees_the_folders_of_runs_and_ends_after_the_worker() -> None:
    unit = (FOLDER / "sensor-ingest-warm.service").read_text(encoding="utf-8")
    assert "\nBefore=sensor-ingest-worker.service\n" in unit
    assert "\nJoinsNamespaceOf=sensor-ingest-worker.service\n" in unit


@each_example
def test_secrets_are_in_files_of_their_own_and_examples_have_none(example: Path) -> None:
    for name, value in variables(example).items():
        is_secret = "AUTH_STRING" in name or "CONNECTION_URL" in name
        assert is_secret == (".secrets" in example.name), name
        assert is_secret == ("CHANGE-ME" in value), name


def test_the_page_about_rotation_names_the_files_that_have_the_secrets() -> None:
    page = (PROJECT / "docs" / "how-to" / "rotate-a-secret.md").read_text(encoding="utf-8")
    named = re.findall(r"`([A-Z_]+)` in `((?:server|client)\.\w+)`", page)
    assert 3 == len(named)
    assert [] == [each for each in named if each[0] not in variables(FOLDER / f"{each[1]}.example")]


def test_the_server_listens_on_loopback_requires_credentials_and_uses_postgresql() -> None:
    server = variables(FOLDER / "server.env.example") | variables(FOLDER / "server.secrets.example")
    assert server["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert server["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg://")
    client = variables(FOLDER / "client.env.example") | variables(FOLDER / "client.secrets.example")
    assert server["PREFECT_SERVER_API_AUTH_STRING"] == client["PREFECT_API_AUTH_STRING"]
    assert f"http://127.0.0.1:{server['PREFECT_SERVER_API_PORT']}/api" == client["PREFECT_API_URL"]
