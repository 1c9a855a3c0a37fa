"""AccessDenied: the doctor names the permission that is missing."""

from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from deployments.doctor import all_checks
from deployments.doctor.template import template_properties
from tests.deployments.doctor.problems import AnsweringSystem, assert_problem
from tests.support.deployed_system import DeployedSystem, SharedSessionSystem

DENIED = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.mark.parametrize(
    ("operation", "check", "answer"),
    [
        ("GetObject", "bucket access", DENIED),
        ("PutObject", "bucket access", DENIED),
        ("DeleteObject", "bucket access", DENIED),
        ("BatchWriteItem", "readings table writes", {"__type": "AccessDeniedException", "message": "no"}),
        ("PutItem", "files table writes", {"__type": "AccessDeniedException", "message": "no"}),
        ("DescribeRule", "rule", {"__type": "AccessDeniedException", "message": "no"}),
    ],
)
def test_a_missing_permission_is_named(
    deployed_system: DeployedSystem, operation: str, check: str, answer: object
) -> None:
    refused = deployed_system.result_of(check, AnsweringSystem(operation, 403, answer))
    assert_problem(refused, f"AccessDenied: AWS refused {operation}", f"grant the permission for {operation}")


@pytest.mark.usefixtures("deployed_system")
def test_the_checks_use_only_operations_that_runs_may_use() -> None:
    """Otherwise the doctor, run with the credentials of runs, would report permissions that runs do not need."""
    system, called = SharedSessionSystem(), set()

    def record(request: AWSPreparedRequest, event_name: str, **_: Any) -> None:  # noqa: ANN401 - botocore's own
        operation = event_name.rpartition(".")[2]
        called.add((operation, next((each for each in ("incoming/", "rejects/") if f"/{each}" in request.url), "")))

    for service in ("s3", "dynamodb"):
        system.client(service).meta.events.register("before-send.*", record)
    for check in all_checks():
        if check.name == "bucket access" or check.name.endswith(" writes"):
            assert check.run(system).level == "ok"
    assert called == {
        ("ListObjectsV2", ""),
        ("GetObject", "incoming/"),
        ("DeleteObject", "incoming/"),
        ("PutObject", "rejects/"),
        ("BatchWriteItem", ""),
        ("PutItem", ""),
    }
    statements = template_properties("RunPolicy")["PolicyDocument"]["Statement"]
    allowed = {each["Sid"]: each["Action"] for each in statements if isinstance(each, dict)}  # without conditional ones
    assert {"s3:GetObject", "s3:DeleteObject"} <= set(allowed["TakeFromIncoming"])
    assert {"s3:GetObject", "s3:PutObject"} <= set(allowed["PutWhereFilesGo"])  # the former for the condition
    assert (allowed["StoreReadings"], "dynamodb:PutItem" in allowed["KeepTheLedger"]) == (
        "dynamodb:BatchWriteItem",
        True,
    )
