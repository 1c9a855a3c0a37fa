"""Each thing broken on its own: the doctor names it, and says what to do. The cases are those that people ask about."""

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

from blocks.domain.names import WORK_POOL
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, find_block
from deployments.doctor import Finding, all_checks, machine, queue
from deployments.doctor.system import World, template_properties
from deployments.server.crash_automation import AUTOMATION
from deployments.settings import POOL_LIMIT
from tests.support.patient import OneSessionWorld, Patient
from tests.support.servers import Aws


@contextmanager
def mended_by(mend: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    finally:
        mend()


class AnsweringWorld(OneSessionWorld):
    """The world in which AWS answers one operation otherwise: what the emulator cannot be brought to say."""

    def __init__(self, operation: str, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:  # noqa: ANN401 - JSON
        self._operation = operation
        self._status, self._headers = status, HTTPHeaders()
        self._content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        for name, value in (headers or {}).items():
            self._headers[name] = value

    def client(self, service: Any) -> Any:  # noqa: ANN401 - as the original
        return self._wired(super().client(service))

    def client_of(self, block_type: Any, service: Any) -> Any:  # noqa: ANN401 - as the original
        return self._wired(super().client_of(block_type, service))

    def _wired(self, client: Any) -> Any:  # noqa: ANN401 - boto3's client
        client.meta.events.register(f"before-send.*.{self._operation}", self._answer)
        return client

    def _answer(self, **_: Any) -> AWSResponse:  # noqa: ANN401 - botocore's own
        return AWSResponse("http://aws", self._status, self._headers, Body(self._content))


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def assert_problem(finding: Finding, seen: str, remedy: str) -> None:
    assert (finding.level, seen in finding.seen, remedy in finding.remedy) == ("problem", True, True), str(finding)


def assert_warning(finding: Finding, seen: str, remedy: str) -> None:
    assert (finding.level, seen in finding.seen, remedy in finding.remedy) == ("warning", True, True), str(finding)


# ---- A file was uploaded, and nothing starts ----------------------------------------------------------------------


def test_a_bucket_that_tells_eventbridge_nothing(patient: Patient) -> None:
    s3, bucket = patient.aws.client("s3"), patient.outputs.bucket_name
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    told: dict[str, Any] = {"EventBridgeConfiguration": {}}
    with mended_by(lambda: s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)):
        found = patient.finding("bucket events")
    assert_problem(found, "EventBridge is not told", "put-bucket-notification-configuration")


def test_a_rule_that_is_disabled(patient: Patient) -> None:
    events, rule = patient.aws.client("events"), patient.rule_name
    events.disable_rule(Name=rule)
    with mended_by(lambda: events.enable_rule(Name=rule)):
        found = patient.finding("rule")
    assert_problem(found, "it is disabled", f"aws events enable-rule --name {rule}")


def test_a_rule_that_was_deleted_and_what_can_not_be_checked_without_it(patient: Patient) -> None:
    events, rule = patient.aws.client("events"), patient.rule_name
    pattern = events.describe_rule(Name=rule)["EventPattern"]
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]

    def mend() -> None:
        events.put_rule(Name=rule, EventPattern=pattern)
        events.put_targets(Rule=rule, Targets=targets)

    events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
    with mended_by(mend):
        assert_problem(patient.finding("rule target"), "does not send to the queue", "stack.yaml")
        events.delete_rule(Name=rule)
        findings = patient.findings("rule target")
    assert_problem(findings["rule"], "was deleted", "stack.yaml")
    assert "not checked: needs rule" in findings["rule target"].seen


def test_a_rule_that_sends_to_a_webhook_is_no_trouble(patient: Patient) -> None:
    events, rule = patient.aws.client("events"), patient.rule_name
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    destination = (
        patient.attributes(patient.outputs.queue_url)["QueueArn"].rsplit(":", 1)[0].replace(":sqs:", ":events:")
    )
    webhook = {
        "Arn": f"{destination}:api-destination/webhook/0b5e",
        "RoleArn": "arn:aws:iam::000000000000:role/webhook",
    }
    events.put_targets(Rule=rule, Targets=[{"Id": targets[0]["Id"], **webhook}])
    with mended_by(lambda: events.put_targets(Rule=rule, Targets=targets)):
        found = patient.finding("rule target")
    assert ("ok", True) == (found.level, "API destination" in found.seen)


def test_a_queue_that_does_not_let_the_rule_in(patient: Patient) -> None:
    sqs, url = patient.aws.client("sqs"), patient.outputs.queue_url
    policy = patient.attributes(url)["Policy"]
    other = json.loads(policy)
    other["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] += "-of-others"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(other)})
    with mended_by(lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})):
        found = patient.finding("queue policy")
    assert_problem(found, "does not let the rule send", "stack.yaml")


def test_messages_that_no_relay_takes(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, url = patient.aws.client("sqs"), patient.outputs.queue_url
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    with mended_by(lambda: sqs.purge_queue(QueueUrl=url)):
        found = patient.finding("backlog")
        monkeypatch.setattr(queue, "_oldest", lambda *_: 61.0)
        old = patient.finding("backlog")
        sqs.receive_message(QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="{}")
        in_hand = patient.finding("backlog")
    assert_warning(found, "1 message(s) wait, the oldest of unknown age", "if they do not become fewer, start a relay")
    assert_warning(old, "the oldest 61 s old, 0 in a relay's hand", "is a relay running?")
    assert_warning(in_hand, "the oldest 61 s old, 1 in a relay's hand", "if they do not become fewer")


@pytest.mark.parametrize(
    ("finding", "name", "seen"),
    [
        ("automation sensor files arrived", "sensor files arrived", "announced files start no run"),
        ("automation resume", "sensor-ingest: resume notify-after-600s", "emails stay paused"),
        ("automation crash", AUTOMATION, "keep their slots"),
    ],
)
def test_an_automation_that_is_disabled_and_one_that_is_gone(
    patient: Patient, finding: str, name: str, seen: str
) -> None:
    [automation] = patient.prefect.read_automations_by_name(name)
    patient.prefect.pause_automation(automation.id)
    disabled = patient.finding(finding)
    patient.prefect.delete_automation(automation.id)
    core = AutomationCore.model_validate(automation.model_dump(exclude={"id", "owner_resource"}))
    with mended_by(lambda: patient.prefect.create_automation(core.model_copy(update={"enabled": True}))):
        gone = patient.finding(finding)
    assert_problem(disabled, "it is disabled", "prefect automation resume")
    assert seen in disabled.seen
    assert_problem(gone, "", "sensor-ingest deploy")


def test_an_automation_that_someone_has_changed(patient: Patient) -> None:
    [automation] = patient.prefect.read_automations_by_name("sensor files arrived")
    core = AutomationCore.model_validate(automation.model_dump(exclude={"id", "owner_resource"}))
    other = core.model_copy(update={"trigger": core.trigger.model_copy(update={"expect": {"something.else"}})})
    patient.prefect.update_automation(automation.id, other)
    with mended_by(lambda: patient.prefect.update_automation(automation.id, core)):
        found = patient.finding("automation sensor files arrived")
    assert_problem(found, "another than that of prefect.yaml", "sensor-ingest deploy")


def test_a_pool_without_a_worker_and_one_that_is_paused(patient: Patient) -> None:
    patient.prefect.request("DELETE", f"/work_pools/{WORK_POOL}/workers/tested")  # type: ignore[arg-type]
    assert_problem(patient.finding("worker"), "none was ever seen", f"prefect worker start --pool {WORK_POOL}")
    patient.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
    with mended_by(lambda: patient.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))):
        assert_problem(patient.finding("work pool"), "is paused", f"prefect work-pool resume {WORK_POOL}")


def test_a_pool_that_leaves_a_sweep_no_room(patient: Patient) -> None:
    patient.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=2))
    with mended_by(lambda: patient.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=POOL_LIMIT))):
        found = patient.finding("work pool")
    assert_warning(found, "limit of 2", f"prefect work-pool set-concurrency-limit {WORK_POOL} {POOL_LIMIT}")


def test_a_deployment_that_is_paused_another_or_missing(patient: Patient) -> None:
    found = patient.prefect.read_deployment_by_name("sweep/sweep")
    patient.prefect.pause_deployment(found.id)
    with mended_by(lambda: patient.prefect.resume_deployment(found.id)):
        paused = patient.finding("deployment sweep")
    [schedule] = found.schedules
    patient.prefect.update_deployment_schedule(found.id, schedule.id, active=False)
    with mended_by(lambda: patient.prefect.update_deployment_schedule(found.id, schedule.id, active=True)):
        off = patient.finding("deployment sweep")
    patient.prefect.update_deployment(found.id, DeploymentUpdate(entrypoint="flows.other.other"))
    other = patient.finding("deployment sweep")
    patient.prefect.delete_deployment(found.id)

    def mend() -> None:
        patient.prefect.create_deployment(
            flow_id=found.flow_id,
            name=found.name,
            work_pool_name=found.work_pool_name,
            entrypoint=found.entrypoint,
            schedules=[{"schedule": each.schedule.model_dump(), "active": True} for each in found.schedules],  # type: ignore[misc]
        )

    with mended_by(mend):
        missing = patient.finding("deployment sweep")
    assert_problem(paused, "it is paused", f"prefect api POST /deployments/{found.id}/resume_deployment")
    off_remedy = f"prefect deployment schedule resume sweep/sweep {schedule.id}"
    assert_problem(off, "its schedule is switched off", off_remedy)
    assert_problem(other, "flows.other.other on the server, flows.sweep.sweep in prefect.yaml", "sensor-ingest deploy")
    assert_problem(missing, "sweep/sweep is not there", "sensor-ingest deploy")


# ---- AccessDenied -------------------------------------------------------------------------------------------------

DENIED = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.mark.parametrize(
    ("operation", "finding", "answer"),
    [
        ("GetObject", "bucket access", DENIED),
        ("PutObject", "bucket access", DENIED),
        ("DeleteObject", "bucket access", DENIED),
        ("BatchWriteItem", "readings table writes", {"__type": "AccessDeniedException", "message": "no"}),
        ("PutItem", "files table writes", {"__type": "AccessDeniedException", "message": "no"}),
        ("DescribeRule", "rule", {"__type": "AccessDeniedException", "message": "no"}),
    ],
)
def test_a_permission_that_is_missing_is_named(patient: Patient, operation: str, finding: str, answer: object) -> None:
    refused = patient.finding(finding, AnsweringWorld(operation, 403, answer))
    assert_problem(refused, f"AccessDenied: AWS refused {operation}", f"grant the permission for {operation}")


@pytest.mark.usefixtures("patient")
def test_nothing_is_tried_that_runs_may_not_do() -> None:
    """Else it would name as missing, to somebody with the credentials of runs, what no run needs."""
    world, tried = OneSessionWorld(), set()

    def note(request: AWSPreparedRequest, event_name: str, **_: Any) -> None:  # noqa: ANN401 - botocore's own
        operation = event_name.rpartition(".")[2]
        tried.add((operation, next((each for each in ("incoming/", "rejects/") if f"/{each}" in request.url), "")))

    for service in ("s3", "dynamodb"):
        world.client(service).meta.events.register("before-send.*", note)
    for check in all_checks():
        if check.name == "bucket access" or check.name.endswith(" writes"):
            assert check.look(world).level == "ok"
    assert tried == {
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


def account(*, production: bool, sent: float = 0, enabled: bool = True) -> AnsweringWorld:
    quota = {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": sent}
    answer = {"ProductionAccessEnabled": production, "SendingEnabled": enabled, "SendQuota": quota}
    return AnsweringWorld("GetAccount", 200, answer)


def test_a_sender_that_ses_does_not_know_or_has_not_verified(patient: Patient) -> None:
    ses = patient.aws.client("sesv2")
    pending = AnsweringWorld("GetEmailIdentity", 200, {"VerifiedForSendingStatus": False})
    assert_problem(patient.finding("mail sender", pending), "no mail is sent", "press the link")
    ses.delete_email_identity(EmailIdentity="doctor@example.com")
    with mended_by(lambda: ses.create_email_identity(EmailIdentity="doctor@example.com")):
        found = patient.finding("mail sender")
    assert_problem(found, "doctor@example.com", "aws sesv2 create-email-identity --email-identity doctor@example.com")


def test_an_account_in_the_sandbox_sends_to_nobody_who_is_not_verified(patient: Patient) -> None:
    findings = patient.findings("mail recipients", world=account(production=False))
    assert_warning(findings["mail account"], "sandbox", "request production access")
    assert_problem(findings["mail recipients"], "ada@example.com", "create-email-identity")


def test_an_account_whose_quota_is_used_up_or_that_is_paused(patient: Patient) -> None:
    assert_problem(patient.finding("mail account", account(production=True, sent=200)), "0 of 200", "quota")
    assert_warning(patient.finding("mail account", account(production=True, sent=190)), "10 of 200", "quota")
    assert_problem(patient.finding("mail account", account(production=True, enabled=False)), "paused", "console")


def test_a_sender_other_than_the_stack_s(patient: Patient) -> None:
    saved = find_block(Mailer)
    assert saved is not None
    saved.model_copy(update={"sender": "else@example.com"}).save(BLOCK_NAME, overwrite=True)
    with mended_by(lambda: saved.save(BLOCK_NAME, overwrite=True)):
        found = patient.finding("block sensor-mailer contents")
    assert_warning(found, "else@example.com", "SenderAddress")


# ---- No rows in the table -----------------------------------------------------------------------------------------


@contextmanager
def other_readings_table(**update: Any) -> Iterator[None]:  # noqa: ANN401 - fields of the block
    saved = find_block(ReadingsTable)
    assert saved is not None
    saved.model_copy(update=update).save(BLOCK_NAME, overwrite=True)
    with mended_by(lambda: saved.save(BLOCK_NAME, overwrite=True)):
        yield


def test_a_block_that_names_another_table(patient: Patient) -> None:
    with other_readings_table(table_name="no-such-table"):
        findings = patient.findings("block sensor-readings-table contents", "readings table")
    assert_problem(
        findings["block sensor-readings-table contents"], "its table is no-such-table", "sensor-ingest deploy"
    )
    assert_problem(findings["readings table"], "no table no-such-table in eu-central-1", "sensor-ingest deploy")


def test_a_block_that_leads_to_another_region(patient: Patient) -> None:
    saved = find_block(ReadingsTable)
    assert saved is not None
    elsewhere = saved.credentials.model_copy(update={"region_name": "us-west-2"})
    elsewhere._block_document_id = None  # noqa: SLF001 - credentials of this block alone
    with other_readings_table(credentials=elsewhere):
        findings = patient.findings("block sensor-readings-table contents", "readings table")
    assert_problem(findings["block sensor-readings-table contents"], "us-west-2", "sensor-ingest deploy")
    assert_problem(findings["readings table"], "in us-west-2", "region")


def test_a_table_with_other_keys_and_one_that_is_paid_by_capacity(patient: Patient, aws: Aws) -> None:
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
        other_keys = patient.findings("block sensor-readings-table", "readings table")["readings table"]
    with other_readings_table(table_name="doctor-provisioned"):
        provisioned = patient.findings("block sensor-readings-table", "readings table")["readings table"]
    assert_problem(other_keys, "timestamp (S, RANGE), not sensor_id (S, HASH), timestamp (N, RANGE)", "stack.yaml")
    assert_warning(provisioned, "PROVISIONED", "--billing-mode PAY_PER_REQUEST")


# ---- The rest -----------------------------------------------------------------------------------------------------


def test_a_bucket_that_keeps_no_versions(patient: Patient) -> None:
    s3, bucket = patient.aws.client("s3"), patient.outputs.bucket_name
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    enabled = {"Status": "Enabled"}
    with mended_by(lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)):
        found = patient.finding("bucket versioning")
    assert_warning(found, "versioning is Suspended", "put-bucket-versioning")


@pytest.mark.parametrize("status", [200, 403])
def test_a_clock_that_is_wrong_also_where_aws_refuses_the_signature_for_it(patient: Patient, status: int) -> None:
    answer = (
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn</Arn></GetCallerIdentityResult>"
        "</GetCallerIdentityResponse>"
        if status == 200
        else "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>"
    )
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=6), usegmt=True)
    world = AnsweringWorld("GetCallerIdentity", status, answer, {"date": date})
    findings = patient.findings("aws account", "clock", world=world)
    assert_problem(findings["clock"], "behind that of AWS", "timedatectl")
    assert (findings["aws account"].level == "ok") is (status == 200)


def test_a_process_without_a_region_or_credentials(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert_problem(patient.finding("aws account", World()), "no credentials", "aws configure")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    findings = patient.findings("aws account", "clock", "stack", world=World())
    assert_problem(findings["aws account"], "no region is set", "AWS_DEFAULT_REGION")
    assert [findings[name].level for name in ("clock", "stack")] == ["not checked", "not checked"]


def test_a_stack_that_is_not_there(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSOR_INGEST_STACK", "no-such-stack")
    found = patient.finding("stack")
    assert_problem(found, "no-such-stack", "aws cloudformation deploy")
    assert patient.outputs.region in found.seen


def test_packages_out_of_the_range_that_the_project_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pandas": "2.3.3", "prefect": "3.8.8"}
    actual = metadata.version
    monkeypatch.setattr(machine, "version", lambda name: versions.get(name) or actual(name))
    verdict = machine.dependencies(World())
    assert verdict.level == "problem"
    assert "pandas 2.3.3, not >=3" in verdict.seen
    assert "prefect 3.8.8, not <3.10,>=3.9.1" in verdict.seen
    assert "make install" in verdict.remedy
