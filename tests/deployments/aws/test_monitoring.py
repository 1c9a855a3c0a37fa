"""Alarms and dashboard, deployed in the emulator beside the stack, and the health check of the relay in ECS."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import TEMPLATE, apply_template, ensure_stack
from deployments.relay.metrics import RelayMetrics, RelayMonitor, metrics_endpoint
from tests.support.rendered_template import rendered
from tests.support.servers import Aws, free_port

INGEST: Final = "ingest-with-alarms"
TOPIC: Final = "arn:aws:sns:eu-central-1:000000000000:operators"
MONITORING: Final = Path(str(TEMPLATE)).with_name("monitoring.yaml")


@pytest.fixture(scope="module")
def outputs(aws: Aws) -> StackOutputs:
    parameters = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com"}
    return ensure_stack(aws.client("cloudformation"), INGEST, parameters)


@pytest.fixture(scope="module")
def alarms(aws: Aws, outputs: StackOutputs) -> dict[str, Any]:
    """The alarms in the emulator, by their logical names; without the relay's, whose arithmetic it does not know."""
    assert outputs
    cloudformation = aws.client("cloudformation")
    parameters = {"IngestStack": INGEST, "AlarmTopicArn": TOPIC, "HoursWithoutLoad": "24", "HasRelay": "no"}
    apply_template(cloudformation, "alarms", parameters, MONITORING)
    made = {
        each["PhysicalResourceId"]: each["LogicalResourceId"]
        for each in cloudformation.describe_stack_resources(StackName="alarms")["StackResources"]
    }
    found = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {made[each["AlarmName"]]: each for each in found if each["AlarmName"] in made}


def test_there_is_an_alarm_for_each_thing_that_is_to_be_watched(alarms: dict[str, Any]) -> None:
    assert alarms.keys() == {
        "DeadLetters",
        "FilesWait",
        "EventsNotDelivered",
        "WritesThrottled",
        "LedgerThrottled",
        "DueTimesThrottled",
        "NothingLoaded",
        "FilesFailed",
    }
    for each in alarms.values():
        assert each["AlarmActions"] == each["OKActions"] == [TOPIC]


def test_alarms_watch_the_resources_of_the_stack(aws: Aws, alarms: dict[str, Any], outputs: StackOutputs) -> None:
    watched = {
        name: (alarm["MetricName"], alarm["Dimensions"][0]["Value"])
        for name, alarm in alarms.items()
        if alarm.get("Dimensions")
    }
    queue, dead = (url.rpartition("/")[2] for url in (outputs.queue_url, outputs.dead_letter_queue_url))
    assert watched["DeadLetters"] == ("ApproximateNumberOfMessagesVisible", dead)
    assert watched["FilesWait"] == ("ApproximateAgeOfOldestMessage", queue)
    assert watched["WritesThrottled"] == ("WriteThrottleEvents", outputs.readings_table_name)
    assert watched["LedgerThrottled"] == ("WriteThrottleEvents", outputs.files_table_name)
    assert watched["DueTimesThrottled"] == watched["LedgerThrottled"]
    assert alarms["DueTimesThrottled"]["Dimensions"][1]["Value"] in indexes_of(aws, outputs.files_table_name)
    assert watched["NothingLoaded"] == ("ConsumedWriteCapacityUnits", outputs.readings_table_name)
    assert alarms["NothingLoaded"]["EvaluationPeriods"] * alarms["NothingLoaded"]["Period"] == 24 * 3600


def indexes_of(aws: Aws, table: str) -> set[str]:
    described = aws.client("dynamodb").describe_table(TableName=table)["Table"]
    return {index["IndexName"] for index in described["GlobalSecondaryIndexes"]}


@pytest.mark.usefixtures("alarms")
def test_the_dashboard_is_json_that_shows_existing_resources(aws: Aws, outputs: StackOutputs) -> None:
    cloudwatch = aws.client("cloudwatch")
    [name] = [each["DashboardName"] for each in cloudwatch.list_dashboards()["DashboardEntries"]]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    shown = {metric[3] for widget in body["widgets"] for metric in widget["properties"]["metrics"]}
    queues = {url.rpartition("/")[2] for url in (outputs.queue_url, outputs.dead_letter_queue_url)}
    assert {outputs.readings_table_name, outputs.files_table_name, *queues} <= shown
    assert not [each for each in shown if "$" in each]


def test_a_silent_relay_is_alarming_only_where_there_is_one() -> None:
    with_relay = rendered("monitoring.yaml", AlarmTopicArn=TOPIC)["Resources"]
    without = rendered("monitoring.yaml", AlarmTopicArn=TOPIC, HasRelay="no")["Resources"]
    assert with_relay.keys() - without.keys() == {"RelaySilent"}
    silent = with_relay["RelaySilent"]["Properties"]
    assert silent["TreatMissingData"] == "breaching"
    counted, *measured = silent["Metrics"]
    assert {each["MetricStat"]["Metric"]["MetricName"] for each in measured} == {
        "NumberOfEmptyReceives",
        "NumberOfMessagesReceived",
    }
    assert set(re.findall(r"FILL\((\w+), 0\)", counted["Expression"])) == {each["Id"] for each in measured}


def test_what_is_optional_is_off_unless_a_parameter_asks_for_it() -> None:
    plain = rendered("monitoring.yaml", AlarmTopicArn=TOPIC)["Resources"]
    full = rendered("monitoring.yaml", AlarmTopicArn=TOPIC, HoursWithoutLoad=24, EcsStack="ecs")["Resources"]
    assert full.keys() - plain.keys() == {"NothingLoaded", "LoggedErrors", "ErrorsLast"}


def test_a_file_under_failed_is_counted(aws: Aws, alarms: dict[str, Any], outputs: StackOutputs) -> None:
    """The rule sends one message per file to the queue whose metric the alarm watches."""
    [dimension] = alarms["FilesFailed"]["Dimensions"]
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=dimension["Value"])["QueueUrl"]
    aws.client("s3").put_object(Bucket=outputs.bucket_name, Key="processed/a.csv", Body=b"x")
    aws.client("s3").put_object(Bucket=outputs.bucket_name, Key="failed/incoming/a.csv", Body=b"x")
    received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10).get("Messages", [])
    keys = [json.loads(each["Body"])["detail"]["object"]["key"] for each in received]
    assert keys == ["failed/incoming/a.csv"]


# ---- The relay in ECS -----------------------------------------------------------------------------------------------


def health_command(port: int) -> list[str]:
    """The command of the health check, for a relay on another port."""
    [container] = rendered("ecs.yaml")["Resources"]["RelayTask"]["Properties"]["ContainerDefinitions"]
    environment = {each["Name"]: each["Value"] for each in container["Environment"]}
    kind, python, *rest = container["HealthCheck"]["Command"]
    assert (kind, python) == ("CMD", "python")
    assert f":{environment['SENSOR_INGEST_METRICS_PORT']}/" in rest[-1]
    return [sys.executable, *rest[:-1], rest[-1].replace(environment["SENSOR_INGEST_METRICS_PORT"], str(port))]


def test_a_relay_is_healthy_as_long_as_it_answers() -> None:
    with metrics_endpoint(RelayMonitor(RelayMetrics(), lambda: 0), 0) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        subprocess.run(health_command(port), check=True)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(health_command(free_port()), check=True, stderr=subprocess.DEVNULL)
