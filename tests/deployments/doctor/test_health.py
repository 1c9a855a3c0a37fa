"""An environment in which nothing is wrong, and one in which nothing is there; both as the command tells it."""

import json
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from deployments.cli import app
from deployments.doctor import all_checks
from tests.support.patient import Patient
from tests.support.servers import free_port


def test_what_was_deployed_is_healthy_but_for_a_dead_letter_and_looking_at_it_leaves_nothing(patient: Patient) -> None:
    queue_url = patient.outputs.dead_letter_queue_url
    patient.aws.client("sqs").send_message(QueueUrl=queue_url, MessageBody="{}")
    try:
        told = CliRunner().invoke(app, ["doctor"])
    finally:
        patient.aws.client("sqs").purge_queue(QueueUrl=queue_url)
    *lines, _ = told.stdout.splitlines()
    [warned] = [line for line in lines if not line.startswith("ok   ")]
    assert warned.startswith("WARN dead letters: 1 message(s) were given up → `sensor-ingest redrive`")
    assert (0, len(all_checks())) == (told.exit_code, len(lines)), told.stdout
    versions = patient.aws.client("s3").list_object_versions(Bucket=patient.outputs.bucket_name)
    assert ([], []) == (versions.get("Versions", []), versions.get("DeleteMarkers", []))
    for table in (patient.outputs.readings_table_name, patient.outputs.files_table_name):
        assert patient.aws.client("dynamodb").scan(TableName=table)["Count"] == 0
    assert patient.attributes(patient.outputs.queue_url)["ApproximateNumberOfMessages"] == "0"


def test_where_nothing_runs_it_says_so_once_what_else_was_not_checked_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        told = CliRunner().invoke(app, ["doctor", "--json"])
    document: dict[str, Any] = json.loads(told.stdout)
    findings = {finding["name"]: finding for finding in document["findings"]}
    problems = {name for name, finding in findings.items() if finding["level"] == "problem"}
    assert (1, False, {"aws account", "prefect api"}) == (told.exit_code, document["healthy"], problems)
    assert "prefect server start" in findings["prefect api"]["remedy"]
    assert "AWS_ENDPOINT_URL" in findings["aws account"]["remedy"]
    assert findings["bucket"]["seen"] == "not checked: needs stack"
    assert findings["worker"]["seen"] == "not checked: needs work pool"
