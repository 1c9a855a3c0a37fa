"""What the doctor finds about this machine, its credentials and the stack."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import metadata
from pathlib import Path

import pytest

from deployments.doctor import machine
from deployments.doctor.system import InspectedSystem
from tests.deployments.doctor.problems import AnsweringSystem, assert_problem
from tests.support.deployed_system import DeployedSystem


@pytest.mark.parametrize("status", [200, 403])
def test_a_wrong_clock_is_reported_even_if_aws_refuses_the_signature(
    deployed_system: DeployedSystem, status: int
) -> None:
    answer = (
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn</Arn></GetCallerIdentityResult>"
        "</GetCallerIdentityResponse>"
        if status == 200
        else "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>"
    )
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=6), usegmt=True)
    system = AnsweringSystem("GetCallerIdentity", status, answer, {"date": date})
    results = deployed_system.results_of("aws account", "clock", system=system)
    assert_problem(results["clock"], "behind that of AWS", "timedatectl")
    assert (results["aws account"].level == "ok") is (status == 200)


def test_a_process_without_a_region_or_credentials(
    deployed_system: DeployedSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert_problem(deployed_system.result_of("aws account", InspectedSystem()), "no credentials", "aws configure")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    results = deployed_system.results_of("aws account", "clock", "stack", system=InspectedSystem())
    assert_problem(results["aws account"], "no region is set", "AWS_DEFAULT_REGION")
    assert [results[name].level for name in ("clock", "stack")] == ["not checked", "not checked"]


def test_a_missing_stack(deployed_system: DeployedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSOR_INGEST_STACK", "no-such-stack")
    found = deployed_system.result_of("stack")
    assert_problem(found, "no-such-stack", "aws cloudformation deploy")
    assert deployed_system.outputs.region in found.seen


def test_packages_outside_the_range_of_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pandas": "2.3.3", "prefect": "3.8.8"}
    actual = metadata.version
    monkeypatch.setattr(machine, "version", lambda name: versions.get(name) or actual(name))
    result = machine.dependencies(InspectedSystem())
    assert result.level == "problem"
    assert "pandas 2.3.3, not >=3" in result.seen
    assert "prefect 3.8.8, not <3.10,>=3.9.1" in result.seen
    assert "make install" in result.remedy
