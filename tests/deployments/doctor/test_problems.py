"""One problem at a time, ordered by what users notice: the doctor names it and its remedy."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore

from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import FILES_QUEUE, WORK_POOL
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, find_block
from deployments.doctor import CheckResult, all_checks, machine, queue
from deployments.doctor.system import InspectedSystem
from deployments.doctor.template import template_properties
from deployments.server.crash_automation import AUTOMATION
from deployments.server.deploy import deploy_all
from deployments.settings import POOL_LIMIT
from tests.support.deployed_system import DeployedSystem, SharedSessionSystem
from tests.support.servers import Aws


@contextmanager
def repaired_by(repair: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    finally:
        repair()


class AnsweringSystem(SharedSessionSystem):
    """A system in which one AWS operation has the given answer, which the emulator cannot produce."""

    def __init__(self, operation: str, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:  # noqa: ANN401 - JSON
        super().__init__()
        self._operation = operation
        self._status, self._headers = status, HTTPHeaders()
        self._content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        for name, value in (headers or {}).items():
            self._headers[name] = value

    def client(self, service: Any) -> Any:  # noqa: ANN401 - as the original
        return self._with_answer(super().client(service))

    def client_of(self, block_type: Any, service: Any) -> Any:  # noqa: ANN401 - as the original
        return self._with_answer(super().client_of(block_type, service))

    def _with_answer(self, client: Any) -> Any:  # noqa: ANN401 - boto3's client
        client.meta.events.register(f"before-send.*.{self._operation}", self._answer)
        return client

    def _answer(self, **_: Any) -> AWSResponse:  # noqa: ANN401 - botocore's own
        return AWSResponse("http://aws", self._status, self._headers, Body(self._content))


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def assert_problem(result: CheckResult, seen: str, remedy: str) -> None:
    assert ("problem", True, True) == (result.level, seen in result.seen, remedy in result.remedy), str(result)


def assert_warning(result: CheckResult, seen: str, remedy: str) -> None:
    assert ("warning", True, True) == (result.level, seen in result.seen, remedy in result.remedy), str(result)


# ---- A file was uploaded, and no run starts -----------------------------------------------------------------------


def test_a_bucket_that_does_not_notify_eventbridge(deployed_system: DeployedSystem) -> None:
    s3, bucket = deployed_system.aws.client("s3"), deployed_system.outputs.bucket_name
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    enabled: dict[str, Any] = {"EventBridgeConfiguration": {}}
    with repaired_by(
        lambda: s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=enabled)
    ):
        found = deployed_system.result_of("bucket events")
    assert_problem(found, "does not notify EventBridge", "put-bucket-notification-configuration")


def test_a_rule_that_is_disabled(deployed_system: DeployedSystem) -> None:
    events, rule = deployed_system.aws.client("events"), deployed_system.rule_name
    events.disable_rule(Name=rule)
    with repaired_by(lambda: events.enable_rule(Name=rule)):
        found = deployed_system.result_of("rule")
    assert_problem(found, "it is disabled", f"aws events enable-rule --name {rule}")


def test_a_rule_that_was_deleted_and_the_checks_that_are_skipped_without_it(deployed_system: DeployedSystem) -> None:
    events, rule = deployed_system.aws.client("events"), deployed_system.rule_name
    pattern = events.describe_rule(Name=rule)["EventPattern"]
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]

    def repair() -> None:
        events.put_rule(Name=rule, EventPattern=pattern)
        events.put_targets(Rule=rule, Targets=targets)

    events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
    with repaired_by(repair):
        assert_problem(deployed_system.result_of("rule target"), "does not send to the queue", "stack.yaml")
        events.delete_rule(Name=rule)
        results = deployed_system.results_of("rule target")
    assert_problem(results["rule"], "was deleted", "stack.yaml")
    assert "not checked: needs rule" in results["rule target"].seen


def test_a_rule_that_sends_to_a_webhook_is_ok(deployed_system: DeployedSystem) -> None:
    events, rule = deployed_system.aws.client("events"), deployed_system.rule_name
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    destination = (
        deployed_system.attributes(deployed_system.outputs.queue_url)["QueueArn"]
        .rsplit(":", 1)[0]
        .replace(":sqs:", ":events:")
    )
    webhook = {
        "Arn": f"{destination}:api-destination/webhook/0b5e",
        "RoleArn": "arn:aws:iam::000000000000:role/webhook",
    }
    events.put_targets(Rule=rule, Targets=[{"Id": targets[0]["Id"], **webhook}])
    with repaired_by(lambda: events.put_targets(Rule=rule, Targets=targets)):
        found = deployed_system.result_of("rule target")
    assert ("ok", True) == (found.level, "API destination" in found.seen)


def test_a_queue_whose_policy_does_not_let_the_rule_send(deployed_system: DeployedSystem) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.queue_url
    policy = deployed_system.attributes(url)["Policy"]
    other = json.loads(policy)
    other["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] += "-of-others"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(other)})
    with repaired_by(lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})):
        found = deployed_system.result_of("queue policy")
    assert_problem(found, "does not let the rule send", "stack.yaml")


def test_messages_that_no_relay_receives(deployed_system: DeployedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, url = deployed_system.aws.client("sqs"), deployed_system.outputs.queue_url
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    with repaired_by(lambda: sqs.purge_queue(QueueUrl=url)):
        found = deployed_system.result_of("backlog")
        monkeypatch.setattr(queue, "_oldest_age_seconds", lambda *_: 61.0)
        old = deployed_system.result_of("backlog")
        sqs.receive_message(QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="{}")
        in_flight = deployed_system.result_of("backlog")
    assert_warning(
        found, "1 message(s) wait, the oldest of unknown age", "if their number does not fall, start a relay"
    )
    assert_warning(old, "the oldest 61 s old, 0 in flight", "is a relay running?")
    assert_warning(in_flight, "the oldest 61 s old, 1 in flight", "if their number does not fall")


@pytest.mark.parametrize(
    ("check", "name", "seen"),
    [
        ("automation sensor files arrived", "sensor files arrived", "announced files start no run"),
        ("automation resume", "sensor-ingest: resume notify-after-600s", "emails leave late"),
        ("automation crash", AUTOMATION, "keep their slots"),
    ],
)
def test_an_automation_that_is_disabled_and_one_that_was_deleted(
    deployed_system: DeployedSystem, check: str, name: str, seen: str
) -> None:
    [automation] = deployed_system.prefect.read_automations_by_name(name)
    deployed_system.prefect.pause_automation(automation.id)
    disabled = deployed_system.result_of(check)
    deployed_system.prefect.delete_automation(automation.id)
    core = AutomationCore.model_validate(automation.model_dump(exclude={"id", "owner_resource"}))
    with repaired_by(lambda: deployed_system.prefect.create_automation(core.model_copy(update={"enabled": True}))):
        deleted = deployed_system.result_of(check)
    assert_problem(disabled, "it is disabled", "prefect automation resume")
    assert seen in disabled.seen
    assert_problem(deleted, "", "sensor-ingest deploy")


def test_an_automation_that_was_changed(deployed_system: DeployedSystem) -> None:
    [automation] = deployed_system.prefect.read_automations_by_name("sensor files arrived")
    core = AutomationCore.model_validate(automation.model_dump(exclude={"id", "owner_resource"}))
    other = core.model_copy(update={"trigger": core.trigger.model_copy(update={"expect": {"something.else"}})})
    deployed_system.prefect.update_automation(automation.id, other)
    with repaired_by(lambda: deployed_system.prefect.update_automation(automation.id, core)):
        found = deployed_system.result_of("automation sensor files arrived")
    assert_problem(found, "differs from prefect.yaml", "sensor-ingest deploy")


def test_a_pool_without_a_worker_and_one_that_is_paused(deployed_system: DeployedSystem) -> None:
    deployed_system.prefect.request("DELETE", f"/work_pools/{WORK_POOL}/workers/tested")  # type: ignore[arg-type]
    assert_problem(
        deployed_system.result_of("worker"), "no worker has ever connected", f"prefect worker start --pool {WORK_POOL}"
    )
    deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
    with repaired_by(lambda: deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))):
        assert_problem(deployed_system.result_of("work pool"), "is paused", f"prefect work-pool resume {WORK_POOL}")


def test_a_pool_whose_limit_may_block_a_sweep(deployed_system: DeployedSystem) -> None:
    deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=2))
    with repaired_by(
        lambda: deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=POOL_LIMIT))
    ):
        found = deployed_system.result_of("work pool")
    assert_warning(found, "limit of 2", f"prefect work-pool set-concurrency-limit {WORK_POOL} {POOL_LIMIT}")


def test_a_queue_that_is_missing_and_one_without_a_limit(deployed_system: DeployedSystem) -> None:
    queue = deployed_system.prefect.read_work_queue_by_name(FILES_QUEUE, work_pool_name=WORK_POOL)

    def change(**changes: object) -> None:
        deployed_system.prefect.request("PATCH", f"/work_queues/{queue.id}", json=changes)  # type: ignore[arg-type]

    with repaired_by(lambda: change(name=FILES_QUEUE, concurrency_limit=RUNS_AT_ONCE)):
        change(concurrency_limit=None)
        unlimited = deployed_system.result_of("work pool")
        change(name="renamed", concurrency_limit=RUNS_AT_ONCE)
        missing = deployed_system.result_of("work pool")
    for found in (unlimited, missing):
        assert_problem(found, "its queue files is missing or has no limit", "`sensor-ingest deploy`")


def test_a_concurrency_limit_of_the_deployment_is_found_and_deploying_removes_it(
    deployed_system: DeployedSystem,
) -> None:
    name = "deployment ingest-sensor-files"
    url = f"/deployments/{deployed_system.deployment_id('ingest-sensor-files')}"
    options = {"collision_strategy": "ENQUEUE"}
    deployed_system.prefect.request("PATCH", url, json={"concurrency_limit": 2, "concurrency_options": options})  # type: ignore[arg-type]
    with repaired_by(deploy_all):
        limited = deployed_system.result_of(name)
    assert_problem(limited, "it has a concurrency limit", "`sensor-ingest deploy` removes it")
    assert "ok" == deployed_system.result_of(name).level
    assert not [each for each in deployed_system.prefect.read_global_concurrency_limits() if "deployment" in each.name]


def test_a_deployment_that_is_paused_changed_or_missing(deployed_system: DeployedSystem) -> None:
    found = deployed_system.prefect.read_deployment_by_name("sweep/sweep")
    deployed_system.prefect.pause_deployment(found.id)
    with repaired_by(lambda: deployed_system.prefect.resume_deployment(found.id)):
        paused = deployed_system.result_of("deployment sweep")
    [schedule] = found.schedules
    deployed_system.prefect.update_deployment_schedule(found.id, schedule.id, active=False)
    with repaired_by(lambda: deployed_system.prefect.update_deployment_schedule(found.id, schedule.id, active=True)):
        inactive = deployed_system.result_of("deployment sweep")
    deployed_system.prefect.update_deployment(found.id, DeploymentUpdate(entrypoint="flows.other.other"))
    changed = deployed_system.result_of("deployment sweep")
    deployed_system.prefect.delete_deployment(found.id)

    def repair() -> None:
        deployed_system.prefect.create_deployment(
            flow_id=found.flow_id,
            name=found.name,
            work_pool_name=found.work_pool_name,
            entrypoint=found.entrypoint,
            schedules=[{"schedule": each.schedule.model_dump(), "active": True} for each in found.schedules],  # type: ignore[misc]
        )

    with repaired_by(repair):
        missing = deployed_system.result_of("deployment sweep")
    assert_problem(paused, "it is paused", f"prefect api POST /deployments/{found.id}/resume_deployment")
    inactive_remedy = f"prefect deployment schedule resume sweep/sweep {schedule.id}"
    assert_problem(inactive, "its schedule is inactive", inactive_remedy)
    assert_problem(
        changed, "flows.other.other on the server, flows.sweep.sweep in prefect.yaml", "sensor-ingest deploy"
    )
    assert_problem(missing, "sweep/sweep does not exist", "sensor-ingest deploy")


# ---- AccessDenied -------------------------------------------------------------------------------------------------

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
    allowed = {each["Sid"]: each["Action"] for each in template_properties("RunPolicy")["PolicyDocument"]["Statement"]}
    assert {"s3:GetObject", "s3:DeleteObject"} <= set(allowed["TakeFromIncoming"])
    assert {"s3:GetObject", "s3:PutObject"} <= set(allowed["PutWhereFilesGo"])  # the former for the condition
    assert (allowed["StoreReadings"], "dynamodb:PutItem" in allowed["KeepTheLedger"]) == (
        "dynamodb:BatchWriteItem",
        True,
    )


# ---- No email -----------------------------------------------------------------------------------------------------


def account(*, production: bool, sent: float = 0, enabled: bool = True) -> AnsweringSystem:
    quota = {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": sent}
    answer = {"ProductionAccessEnabled": production, "SendingEnabled": enabled, "SendQuota": quota}
    return AnsweringSystem("GetAccount", 200, answer)


def test_a_sender_that_is_not_verified_or_not_registered_in_ses(deployed_system: DeployedSystem) -> None:
    ses = deployed_system.aws.client("sesv2")
    pending = AnsweringSystem("GetEmailIdentity", 200, {"VerifiedForSendingStatus": False})
    assert_problem(deployed_system.result_of("mail sender", pending), "no mail is sent", "press the link")
    ses.delete_email_identity(EmailIdentity="doctor@example.com")
    with repaired_by(lambda: ses.create_email_identity(EmailIdentity="doctor@example.com")):
        found = deployed_system.result_of("mail sender")
    assert_problem(found, "doctor@example.com", "aws sesv2 create-email-identity --email-identity doctor@example.com")


def test_an_account_in_the_sandbox_sends_only_to_verified_recipients(deployed_system: DeployedSystem) -> None:
    results = deployed_system.results_of("mail recipients", system=account(production=False))
    assert_warning(results["mail account"], "sandbox", "request production access")
    assert_problem(results["mail recipients"], "ada@example.com", "create-email-identity")


def test_an_account_whose_quota_is_used_up_or_that_is_paused(deployed_system: DeployedSystem) -> None:
    assert_problem(deployed_system.result_of("mail account", account(production=True, sent=200)), "0 of 200", "quota")
    assert_warning(deployed_system.result_of("mail account", account(production=True, sent=190)), "10 of 200", "quota")
    assert_problem(
        deployed_system.result_of("mail account", account(production=True, enabled=False)), "paused", "console"
    )


def test_a_sender_that_differs_from_the_stack(deployed_system: DeployedSystem) -> None:
    saved = find_block(Mailer)
    assert saved is not None
    saved.model_copy(update={"sender": "else@example.com"}).save(BLOCK_NAME, overwrite=True)
    with repaired_by(lambda: saved.save(BLOCK_NAME, overwrite=True)):
        found = deployed_system.result_of("block sensor-mailer contents")
    assert_warning(found, "else@example.com", "SenderAddress")


# ---- No rows in the table -----------------------------------------------------------------------------------------


@contextmanager
def other_readings_table(**update: Any) -> Iterator[None]:  # noqa: ANN401 - fields of the block
    saved = find_block(ReadingsTable)
    assert saved is not None
    saved.model_copy(update=update).save(BLOCK_NAME, overwrite=True)
    with repaired_by(lambda: saved.save(BLOCK_NAME, overwrite=True)):
        yield


def test_a_block_that_names_another_table(deployed_system: DeployedSystem) -> None:
    with other_readings_table(table_name="no-such-table"):
        results = deployed_system.results_of("block sensor-readings-table contents", "readings table")
    assert_problem(
        results["block sensor-readings-table contents"], "its table is no-such-table", "sensor-ingest deploy"
    )
    assert_problem(
        results["readings table"], "the table no-such-table does not exist in eu-central-1", "sensor-ingest deploy"
    )


def test_a_block_that_leads_to_another_region(deployed_system: DeployedSystem) -> None:
    saved = find_block(ReadingsTable)
    assert saved is not None
    elsewhere = saved.credentials.model_copy(update={"region_name": "us-west-2"})
    elsewhere._block_document_id = None  # noqa: SLF001 - credentials of this block alone
    with other_readings_table(credentials=elsewhere):
        results = deployed_system.results_of("block sensor-readings-table contents", "readings table")
    assert_problem(results["block sensor-readings-table contents"], "us-west-2", "sensor-ingest deploy")
    assert_problem(results["readings table"], "in us-west-2", "region")


def test_a_table_with_other_keys_and_one_with_provisioned_capacity(deployed_system: DeployedSystem, aws: Aws) -> None:
    client = aws.client("dynamodb")
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    for name, kind in (("doctor-other-keys", "S"), ("doctor-provisioned", "N")):
        client.create_table(
            TableName=name,
            ProvisionedThroughput=throughput,
            AttributeDefinitions=[
                {"AttributeName": "sensor_id", "AttributeType": "S"},
                {"AttributeName": "timestamp", "AttributeType": kind},
            ],
            KeySchema=[
                {"AttributeName": "sensor_id", "KeyType": "HASH"},
                {"AttributeName": "timestamp", "KeyType": "RANGE"},
            ],
        )
    with other_readings_table(table_name="doctor-other-keys"):
        other_keys = deployed_system.results_of("block sensor-readings-table", "readings table")["readings table"]
    with other_readings_table(table_name="doctor-provisioned"):
        provisioned = deployed_system.results_of("block sensor-readings-table", "readings table")["readings table"]
    assert_problem(other_keys, "timestamp (S, RANGE), not sensor_id (S, HASH), timestamp (N, RANGE)", "stack.yaml")
    assert_warning(provisioned, "PROVISIONED", "--billing-mode PAY_PER_REQUEST")


# ---- Other problems -------------------------------------------------------------------------------------------------


def test_a_bucket_without_versioning(deployed_system: DeployedSystem) -> None:
    s3, bucket = deployed_system.aws.client("s3"), deployed_system.outputs.bucket_name
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    enabled = {"Status": "Enabled"}
    with repaired_by(lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)):
        found = deployed_system.result_of("bucket versioning")
    assert_warning(found, "versioning is Suspended", "put-bucket-versioning")


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
