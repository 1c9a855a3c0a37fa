"""Prefect Cloud instead of the relay: the webhook's template turns the body from an API destination into an event.

The emulator's CloudFormation supports neither connections nor API destinations, so the tests create those of the
template themselves; the emulator's EventBridge then delivers to a fake of Prefect Cloud. Prefect Cloud's templates are
Jinja with its built-in filters. Source: "Webhooks", Prefect documentation.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final
from uuid import UUID

import jinja2.sandbox
import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it carries no types
from prefect.events import Event

from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import TEMPLATE, ensure_stack
from deployments.relay.s3_events import announced_files
from flows.events.file_arrivals import arrival_event
from tests.support.servers import Aws

PARAMETERS: Final = {"SenderAddress": "sensors@example.com", "Recipients": "ada@example.com"}
WEBHOOK_TEMPLATE: Final = Path(str(TEMPLATE)).with_name("webhook.json.j2").read_text(encoding="utf-8")

HOSTILE_KEYS: Final = [
    'incoming/"}], "key": "incoming/other.csv',
    "incoming/{{ 7 * 7 }}{% raw %}.csv",
    "incoming/back\\slash\\u0041\\n.csv",
    "incoming/a line\nand\ttab.csv",
    "incoming/<script>&amp;'.csv",
    "incoming/测试 😀 é+%20%2B.csv",
    "incoming/a\u2028b.csv",
]


def created_event(body: dict[str, Any]) -> dict[str, Any]:
    """The event that Prefect Cloud creates from that body."""
    rendered = jinja2.sandbox.SandboxedEnvironment().from_string(WEBHOOK_TEMPLATE).render(body=body)
    event: dict[str, Any] = json.loads(rendered)
    return event


def s3_event(**described: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """As in "EventBridge event message structure", Amazon S3 user guide."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {"bucket": {"name": "landing"}, "object": described, "reason": "PutObject"},
    }


def assert_is_what_the_relay_sends(event: dict[str, Any], message: dict[str, Any]) -> None:
    files = announced_files(json.dumps(message), prefix="incoming/")
    expected = arrival_event(files, "incoming/").model_dump(mode="json")
    got = Event.model_validate(event).model_dump(mode="json")
    assert {name: expected[name] for name in ("event", "resource", "payload")} == {
        name: got[name] for name in ("event", "resource", "payload")
    }


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_the_template_creates_the_event_that_the_relay_sends_for_any_key(key: str) -> None:
    message = s3_event(key=key, size=5, etag="b1946ac9", **{"version-id": "IYV3", "sequencer": "00617F08299329D189"})
    event = created_event(message)
    assert_is_what_the_relay_sends(event, message)
    assert key == event["payload"]["objects"][0]["key"]


def test_an_object_of_an_unversioned_bucket_is_announced_without_a_version() -> None:
    message = s3_event(key="incoming/a.csv", size=0, etag="b1946ac9", sequencer="0A")
    event = created_event(message)
    assert_is_what_the_relay_sends(event, message)
    assert event["payload"]["objects"][0]["version_id"] is None


def test_an_event_that_is_delivered_twice_has_the_same_id() -> None:
    message = s3_event(key="incoming/a.csv")
    assert UUID(message["id"]) == Event.model_validate(created_event(message)).id


def test_a_folder_creates_no_arrival_event() -> None:
    message = s3_event(key="incoming/new folder/", size=0)
    assert announced_files(json.dumps(message), prefix="incoming/") == []
    assert created_event(message)["event"] != "sensor-files.arrived"


# ---- Targets of the stack's rule -------------------------------------------------------------------------------------


def resources() -> Any:  # noqa: ANN401 - YAML
    return cfn_yaml.loads(TEMPLATE.read_text(encoding="utf-8"))["Resources"]


def test_a_webhook_replaces_the_queue_as_target_and_keeps_the_dead_letter_queue() -> None:
    [target] = resources()["FileArrived"]["Properties"]["Targets"]
    condition, webhook, queue = target["Fn::If"]
    assert condition == "UsesWebhook"
    assert webhook["Arn"] == {"Fn::GetAtt": ["PrefectWebhook", "Arn"]}
    assert webhook["DeadLetterConfig"] == queue["DeadLetterConfig"]
    assert not webhook.keys() & {"Input", "InputPath", "InputTransformer"}, "the template expects the whole event"


def test_without_a_webhook_none_of_its_resources_is_created() -> None:
    made = {name for name, each in resources().items() if each.get("Condition") == "UsesWebhook"}
    assert made == {"PrefectCloud", "PrefectWebhook", "WebhookRole"}


def test_a_webhook_without_a_key_is_refused_before_any_resource_is_created(aws: Aws) -> None:
    whole = cfn_yaml.loads(TEMPLATE.read_text(encoding="utf-8"))
    template = {name: whole[name] for name in ("Parameters", "Rules", "Conditions")}
    template["Resources"] = {"Queue": {"Type": "AWS::SQS::Queue"}}
    given = PARAMETERS | {"PrefectWebhookUrl": "https://api.prefect.cloud/hooks/x"}
    with pytest.raises(ClientError, match="needs PrefectApiKeySecretArn"):
        aws.client("cloudformation").create_stack(
            StackName="webhook-without-key",
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        )


@contextmanager
def listening(received: "Queue[tuple[str | None, dict[str, Any]]]") -> Iterator[str]:
    """The address of a server that acts as Prefect Cloud."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((self.headers["Authorization"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hooks/x"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def stack(aws: Aws) -> StackOutputs:
    return ensure_stack(aws.client("cloudformation"), "webhook", PARAMETERS)


def test_an_uploaded_file_is_announced_through_an_api_destination(aws: Aws, stack: StackOutputs) -> None:
    events, cloudformation = aws.client("events"), aws.client("cloudformation")
    described = cloudformation.describe_stack_resource(StackName="webhook", LogicalResourceId="FileArrived")
    rule = described["StackResourceDetail"]["PhysicalResourceId"]
    received: Queue[tuple[str | None, dict[str, Any]]] = Queue()
    connection, destination = (resources()[name]["Properties"] for name in ("PrefectCloud", "PrefectWebhook"))
    auth = {"ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": "Bearer pnu_made_up"}}
    template_auth = connection["AuthParameters"]["ApiKeyAuthParameters"]
    assert template_auth["ApiKeyName"] == auth["ApiKeyAuthParameters"]["ApiKeyName"]
    with listening(received) as url:
        connected = events.create_connection(
            Name="webhook", AuthorizationType=connection["AuthorizationType"], AuthParameters=auth
        )
        made = events.create_api_destination(
            Name="webhook",
            ConnectionArn=connected["ConnectionArn"],
            InvocationEndpoint=url,
            HttpMethod=destination["HttpMethod"],
        )
        role = "arn:aws:iam::000000000000:role/webhook"
        target = {"Id": "webhook", "Arn": made["ApiDestinationArn"], "RoleArn": role}
        events.put_targets(Rule=rule, Targets=[target])
        # A key that HTTP can transport; the tests above cover the others.
        key = 'incoming/a "b" {{ c }}+%20é<\'>.csv'
        aws.client("s3").put_object(Bucket=stack.bucket_name, Key=key, Body=b"0000-0001,1483906366,10.10\n")
        authorization, message = received.get(timeout=60)
    assert authorization == "Bearer pnu_made_up"
    event = created_event(message)
    assert_is_what_the_relay_sends(event, message)
    assert (stack.bucket_name, key) == tuple(event["payload"]["objects"][0][name] for name in ("bucket", "key"))
