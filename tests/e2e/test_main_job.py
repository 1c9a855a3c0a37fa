"""The whole job, through every component that production uses."""

import json
import re
from decimal import Decimal
from pathlib import Path

from deployments.commands.demo.story import SAMPLE
from deployments.embedded.services.warm_process import warm_status
from deployments.server.crash_automation import AUTOMATION
from tests.e2e.conftest import NOTIFY_AFTER_SECONDS
from tests.support.pages import page
from tests.support.servers import prepared
from tests.support.system import System, start_run, write
from tests.support.waiting import eventually

ITEMS_OF_SAMPLE = {
    ("0000-0001", 1483906366, Decimal("0.35")),
    ("0000-0001", 1483906520, Decimal("27.54")),
    ("0000-0001", 1483908322, Decimal("-12.93")),
    ("0000-0011", 1483906376, Decimal("-5.1")),
    ("0000-0093", 1483906376, Decimal("3.8")),
    ("0000-0107", 1483906520, Decimal("115.45")),
    ("0000-2101", 1483908322, Decimal(340)),
}

PATIENT = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "100"}
"""Prefect gives its temporary server 20 seconds; on a machine with a load of 13 that was not enough."""


def test_a_dropped_file_is_loaded_moved_waited_for_and_emailed_about(system: System, tmp_path: Path) -> None:
    sample = write(tmp_path, "tutorial sämple+1.csv", SAMPLE)
    system.run("-m", "deployments.cli", "put", str(sample))

    ingest = eventually(lambda: system.run_in_state(sample.name, "Completed"), 60, "the run to load the file")
    assert system.readings("0000-") == ITEMS_OF_SAMPLE
    assert f"processed/{sample.name}" in system.object_keys()
    assert f"incoming/{sample.name}" not in system.object_keys()
    assert system.api(f"flow_runs/{ingest['id']}")["state"]["message"] == f"{sample.name}: 7 rows loaded"

    email = system.run_named(f"email about {sample.name}")
    assert email is not None
    assert email["state_name"] == "Paused"
    assert ingest["id"] == system.api(f"task_runs/{email['parent_task_run_id']}")["flow_run_id"]
    eventually(lambda: not system.flow_run_processes(), 60, "the process of the ingest run to end")
    waiting = system.run_named(email["name"])
    assert waiting is not None
    assert waiting["state_name"] == "Paused"
    assert system.mails_about(sample.name) == []

    eventually(lambda: system.run_in_state(email["name"], "Completed"), 60, "the email to be sent")
    states = system.states_of(email)
    assert states[0] == "Paused"
    assert states[-1] == "Completed"
    assert "Running" in states[1:-1]
    assert [f"{sample.name}: 7 rows loaded"] == [mail.subject for mail in system.mails_about(sample.name)]


def test_status_shows_the_stack_and_the_last_file(system: System) -> None:
    seen = json.loads(system.run("-m", "deployments.cli", "status", "--json"))
    assert (True, [], {}) == (seen["healthy"], seen["needs_a_person"], seen["unanswered"])
    assert (["embedded"], True, "warm") == (
        [each["name"] for each in seen["workers"]["online"]],
        seen["relay"]["alive"],
        seen["starts"]["kind"],
    )
    assert "of the embedded stack" in seen["relay"]["sign"]
    assert "incoming/tutorial sämple+1.csv" in {each["key"] for each in seen["ledger"]["newest"]}


def test_the_runs_were_forked_from_the_warm_process(system: System) -> None:
    found = warm_status(system.stack)
    assert (None, True) == (found.problem, found.forked >= 1)


def test_the_resume_button_sends_the_email_before_its_time(system: System) -> None:
    system.put("0001-0001,1483906366,1\n", "incoming/hurry.csv")
    email = eventually(lambda: system.run_in_state("email about hurry.csv", "Paused"), 60, "the email to wait")
    system.api(f"flow_runs/{email['id']}/resume", {})
    eventually(lambda: system.mails_about("hurry.csv"), 60, "the email")


def test_one_good_file_is_loaded_although_another_is_no_csv_and_a_third_is_missing(system: System) -> None:
    # No S3 event names a missing file; a person may.
    objects = [
        system.put("0002-0001,1483906366,2.50\n", "by-hand/good 'one'.csv"),
        system.put(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "by-hand/picture.csv"),
        system.uri("by-hand/missing.csv"),
    ]
    run_name = "good 'one'.csv and 2 more"
    start_run(system, objects, notify_after_seconds=0)

    run = eventually(lambda: system.run_in_state(run_name, "PartlyFailed"), 90, "the run to end")
    assert run["state"]["message"].startswith("3 files: ")
    assert system.readings("0002-") == {("0002-0001", 1483906366, Decimal("2.5"))}
    assert {"processed/by-hand/good 'one'.csv", "refused/by-hand/picture.csv"} <= system.object_keys()
    [mail] = eventually(lambda: system.mails_about("missing.csv"), 60, "the email")
    for name in ("good 'one'.csv: 1 row loaded", "picture.csv: refused", "missing.csv: missing"):
        assert name in mail.text


def test_a_run_started_from_python_with_a_temporary_server_loads_the_sample(
    system: System, tmp_path: Path, empty_database: Path
) -> None:
    uri = system.put(SAMPLE.replace("0000-", "0003-"), "by-hand/from-python.csv")
    script = write(
        tmp_path,
        "load.py",
        "import sys\n"
        "from flows.ingest import ingest_sensor_files\n"
        "report = ingest_sensor_files([sys.argv[1]], notify_after_seconds=2)\n"
        "print(report.files[0].accepted, report.files[0].status, report.notification.state)\n",
    )
    home = tmp_path / "prefect"
    home.mkdir()
    with prepared(home / "prefect.db", empty_database):
        said = system.run(str(script), uri, PREFECT_API_URL=None, PREFECT_HOME=str(home), **PATIENT)
    assert said.splitlines()[-1] == "7 archived Completed"
    assert len(system.readings("0003-")) == len(ITEMS_OF_SAMPLE)


def test_the_command_run_loads_a_file_with_no_worker_and_prints_one_json_document(system: System) -> None:
    uri = system.put(SAMPLE.replace("0000-", "0007-"), "by-hand/run.csv")
    said = system.run("-m", "deployments.cli", "run", uri, "--notify-after", "0", "--json")
    document = json.loads(said)
    [file] = document["files"]

    assert (8, 8, 7, 1, 0) == tuple(file[count] for count in ("lines", "rows", "accepted", "replaced", "rejected"))
    assert ("archived", system.uri("processed/by-hand/run.csv")) == (file["status"], file["archived_to"])
    assert document["notification"]["state"] == "Completed"
    assert len(system.mails_about("run.csv")) == 1


def test_the_email_comes_once_although_the_prefect_server_was_killed_during_the_wait(system: System) -> None:
    system.put("0004-0001,1483906366,4\n", "incoming/survivor.csv")
    name = "email about survivor.csv"
    eventually(lambda: system.run_in_state(name, "Paused"), 60, "the email to wait")
    system.kill("server")
    eventually(lambda: system.mails_about("survivor.csv"), 90, "the email, after the server was started again")
    eventually(lambda: system.run_in_state(name, "Completed"), 60, "the notify run to end")
    assert len(system.mails_about("survivor.csv")) == 1


def test_a_file_whose_event_was_lost_is_found_by_the_sweep_and_loaded(system: System) -> None:
    rules = system.client("events")
    [rule] = rules.list_rules()["Rules"]
    rules.disable_rule(Name=rule["Name"])
    try:
        uri = system.put("0006-0001,1483906366,6\n", "incoming/unannounced.csv")
    finally:
        rules.enable_rule(Name=rule["Name"])
    system.run("-m", "prefect", "deployment", "run", "sweep/sweep", "--param", "older_than_seconds=0")

    eventually(lambda: system.run_in_state("unannounced.csv", "Completed"), 90, f"{uri} to be found and loaded")
    assert system.readings("0006-") == {("0006-0001", 1483906366, Decimal(6))}


def test_env_prints_one_json_document(system: System) -> None:
    printed = system.run("-m", "deployments.cli", "env", "--data-dir", str(system.data_dir), "--json")
    assert json.loads(printed) == system.environment


def test_deploying_again_prints_one_json_document_and_leaves_one_of_each(system: System) -> None:
    before = names(system)
    deployed = json.loads(system.run("-m", "deployments.cli", "deploy", "--json"))
    assert before == names(system)
    deployments, automations = before
    assert deployments == ["ingest-sensor-files", "notify", "sweep"]
    assert ("sensor-ingest", {f"{name}/{name}" for name in deployments}) == (
        deployed["work_pool"],
        set(deployed["deployments"]),
    )
    resume = f"sensor-ingest: resume notify-after-{NOTIFY_AFTER_SECONDS}s"
    assert {"sensor files arrived", resume, AUTOMATION} <= set(automations)  # other waits have made theirs, too


def names(system: System) -> tuple[list[str], list[str]]:
    """Of all deployments and automations, each as often as it is there."""
    deployments, automations = (system.api(f"{each}/filter", {}) for each in ("deployments", "automations"))
    return sorted(each["name"] for each in deployments), sorted(each["name"] for each in automations)


def test_the_pages_show_how_to_see_the_emails_of_the_emulator(system: System) -> None:
    """Once an email was sent, which an earlier test of this folder waits for."""
    for name in "docs/tutorial.md", "docs/how-to/emails-do-not-arrive.md":
        [command] = re.findall(r"^    python (-m deployments\.embedded\..*)$", page(name).text, re.MULTILINE)
        assert "to you@example.com: tutorial sämple+1.csv: 7 rows loaded\n" in system.run(*command.split())
