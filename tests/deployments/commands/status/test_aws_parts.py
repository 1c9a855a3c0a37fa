"""How a relay is heard, and what is asked of AWS beside that."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from blocks.stack_outputs import StackOutputs
from deployments.commands.status.aws_parts import AwsParts, embedded_stack, relay_series
from deployments.commands.status.seen import Queue, Relay
from deployments.embedded import StackDescription
from deployments.embedded.process_id import ProcessId
from deployments.embedded.processes import identify
from deployments.relay.metrics import RelayMetrics, RelayMonitor, metrics_endpoint
from tests.deployments.commands.status.conftest import STACK
from tests.support.deployed_system import DeployedSystem

ENDED = ProcessId(pid=2**22 + 1, created=0)


@pytest.fixture
def aws_parts(deployed_system: DeployedSystem, monkeypatch: pytest.MonkeyPatch) -> AwsParts:
    assert deployed_system
    monkeypatch.setenv("SENSOR_INGEST_STACK", STACK)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    return AwsParts()


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackDescription:
    """An embedded stack, as its files say, that this process runs, and which the environment names."""
    stack = StackDescription(
        data_dir=tmp_path, prefect_port=4321, aws_port=1, environment={}, supervisor=identify(os.getpid())
    )
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", stack.prefect_api_url)
    return stack


@pytest.fixture
def metrics_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The metrics of a relay whose last look into the queue was a while ago."""
    monitor = RelayMonitor(RelayMetrics(empty_at=1000), lambda: 3, now=lambda: 1042)
    with metrics_endpoint(monitor, 0) as url:
        monkeypatch.setenv("SENSOR_INGEST_METRICS_PORT", url.rpartition(":")[2].partition("/")[0])
        yield


def not_asked() -> tuple[Queue, str]:
    raise AssertionError("the queue was asked")


def test_the_process_of_the_embedded_stack_is_heard_without_the_queue(
    aws_parts: AwsParts, described: StackDescription
) -> None:
    described.model_copy(update={"parts": {"relay": identify(os.getpid())}}).write()
    assert Relay(alive=True, sign=f"process {os.getpid()} of the embedded stack") == aws_parts.relay(not_asked)
    described.model_copy(update={"parts": {"relay": ENDED}}).write()
    assert Relay(alive=False, sign="that of the embedded stack does not run") == aws_parts.relay(not_asked)


def test_an_embedded_stack_whose_server_is_not_asked_is_another_one(
    described: StackDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    described.write()
    assert described == embedded_stack()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4322/api")
    assert embedded_stack() is None


@pytest.mark.usefixtures("metrics_port")
def test_a_relay_with_metrics_on_this_machine_is_heard_and_knows_the_age(
    aws_parts: AwsParts, deployed_system: DeployedSystem, outputs: StackOutputs
) -> None:
    assert Relay(alive=True, sign="its metrics answer on this machine") == aws_parts.relay(not_asked)
    sqs = deployed_system.aws.client("sqs")
    sqs.send_message(QueueUrl=outputs.queue_url, MessageBody="{}")
    try:
        queue, _ = aws_parts.queue(aws_parts.prepare())
    finally:
        sqs.purge_queue(QueueUrl=outputs.queue_url)
    assert (1, 42.0) == (queue.waiting, queue.oldest_age_seconds)


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2\r\n", b'HTTP/1.0 200 OK\r\n\r\nsensor_ingest_relay_x{a="b"} many 1\n\xff']
)
def test_what_else_listens_on_the_port_of_the_metrics_is_no_relay_and_hides_nothing(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("SENSOR_INGEST_METRICS_PORT", str(server.getsockname()[1]))

        def speak() -> None:
            with server.accept()[0] as client:
                client.recv(1000)
                client.sendall(said)

        other = Thread(target=speak)
        other.start()
        assert {} == relay_series()
        other.join()


def test_messages_in_flight_are_a_sign_of_a_relay(aws_parts: AwsParts) -> None:
    assert Relay(alive=True, sign="4 messages in flight") == aws_parts.relay(lambda: (Queue(0, 4, None, 0), "arn"))


def test_a_rule_that_sends_to_a_webhook_needs_no_relay(
    aws_parts: AwsParts, deployed_system: DeployedSystem, outputs: StackOutputs
) -> None:
    aws_parts.prepare()
    events = deployed_system.aws.client("events")
    rule = deployed_system.aws.client("cloudformation").describe_stack_resource(
        StackName=STACK, LogicalResourceId="FileArrived"
    )["StackResourceDetail"]["PhysicalResourceId"]
    arn = "arn:aws:events:eu-central-1:000000000000:api-destination/webhook/1"
    asked = (Queue(0, 0, None, 0), "arn:aws:sqs:eu-central-1:000000000000:no-such-queue")
    assert not aws_parts.relay(lambda: asked).alive
    events.put_targets(Rule=rule, Targets=[{"Id": "webhook", "Arn": arn}])
    try:
        heard = aws_parts.relay(lambda: asked)
    finally:
        events.remove_targets(Rule=rule, Ids=["webhook"])
    assert Relay(alive=True, sign="none is needed: the rule sends to an API destination") == heard
    assert outputs.queue_url
