"""`sensor-ingest doctor` for a deployed system, and where nothing runs."""

import json
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from deployments.cli import app
from deployments.doctor import all_checks
from tests.support.deployed_system import DeployedSystem
from tests.support.servers import free_port


def test_a_deployed_system_has_no_problem_but_a_dead_letter_and_the_checks_write_nothing(
    deployed_system: DeployedSystem,
) -> None:
    queue_url = deployed_system.outputs.dead_letter_queue_url
    deployed_system.aws.client("sqs").send_message(QueueUrl=queue_url, MessageBody="{}")
    try:
        output = CliRunner().invoke(app, ["doctor"])
    finally:
        deployed_system.aws.client("sqs").purge_queue(QueueUrl=queue_url)
    *lines, _ = output.stdout.splitlines()
    [warning] = [line for line in lines if not line.startswith("ok   ")]
    assert warning.startswith("WARN dead letters: 1 dead letter(s) → `sensor-ingest redrive`")
    assert (0, len(all_checks())) == (output.exit_code, len(lines)), output.stdout
    versions = deployed_system.aws.client("s3").list_object_versions(Bucket=deployed_system.outputs.bucket_name)
    assert ([], []) == (versions.get("Versions", []), versions.get("DeleteMarkers", []))
    for table in (deployed_system.outputs.readings_table_name, deployed_system.outputs.files_table_name):
        assert deployed_system.aws.client("dynamodb").scan(TableName=table)["Count"] == 0
    assert deployed_system.attributes(deployed_system.outputs.queue_url)["ApproximateNumberOfMessages"] == "0"


def test_where_nothing_runs_two_problems_are_reported_and_the_checks_that_need_them_are_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        output = CliRunner().invoke(app, ["doctor", "--json"])
    document: dict[str, Any] = json.loads(output.stdout)
    findings = {finding["name"]: finding for finding in document["findings"]}
    problems = {name for name, finding in findings.items() if finding["level"] == "problem"}
    assert (1, False, {"aws account", "prefect api"}) == (output.exit_code, document["healthy"], problems)
    assert "prefect server start" in findings["prefect api"]["remedy"]
    assert "AWS_ENDPOINT_URL" in findings["aws account"]["remedy"]
    assert findings["bucket"]["seen"] == "not checked: needs stack"
    assert findings["worker"]["seen"] == "not checked: needs work pool"
