"""An environment in which nothing is wrong, and one in which nothing is there."""

import json
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from deployments.cli import app
from deployments.doctor import examine
from tests.conftest import free_port
from tests.doctor.conftest import Patient


def test_an_environment_that_was_deployed_is_healthy_and_looking_at_it_leaves_nothing_behind(patient: Patient) -> None:
    findings = patient.findings()
    assert [] == [str(finding) for finding in findings.values() if finding.level != "ok"]
    versions = patient.aws.client("s3").list_object_versions(Bucket=patient.outputs.bucket_name)
    assert ([], []) == (versions.get("Versions", []), versions.get("DeleteMarkers", []))
    for table in (patient.outputs.readings_table_name, patient.outputs.files_table_name):
        assert patient.aws.client("dynamodb").scan(TableName=table)["Count"] == 0
    assert patient.attributes(patient.outputs.queue_url)["ApproximateNumberOfMessages"] == "0"


def test_where_nothing_runs_it_says_so_once_and_what_else_was_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        findings = {finding.name: finding for finding in examine()}
    assert {name for name, finding in findings.items() if finding.level == "problem"} == {"clock", "prefect api"}
    assert "prefect server start" in findings["prefect api"].remedy
    assert "AWS_ENDPOINT_URL" in findings["clock"].remedy
    assert str(findings["bucket"]) == "--   bucket: not checked: needs stack"
    assert str(findings["worker"]) == "--   worker: not checked: needs work pool"


def test_the_command_prints_a_line_each_and_ends_with_1_only_for_problems(patient: Patient) -> None:
    queue_url = patient.outputs.dead_letter_queue_url
    patient.aws.client("sqs").send_message(QueueUrl=queue_url, MessageBody="{}")
    try:
        warned = CliRunner().invoke(app, ["doctor"])
    finally:
        patient.aws.client("sqs").purge_queue(QueueUrl=queue_url)
    assert warned.exit_code == 0, warned.output
    assert "WARN dead letters: 1 message(s) were given up → `sensor-ingest redrive`" in warned.stdout
    assert "ok   bucket: " in warned.stdout


def test_as_json_it_is_one_document(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSOR_INGEST_STACK", "no-such-stack")
    told = CliRunner().invoke(app, ["doctor", "--json"])
    document: dict[str, Any] = json.loads(told.stdout)
    by_name = {finding["name"]: finding for finding in document["findings"]}
    assert (1, False) == (told.exit_code, document["healthy"])
    assert "no-such-stack" in by_name["stack"]["seen"]
    assert "aws cloudformation deploy" in by_name["stack"]["remedy"]
    assert by_name["worker"]["level"] == "ok"
    assert patient.outputs.region in by_name["stack"]["seen"]
