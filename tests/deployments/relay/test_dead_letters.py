"""A redrive moves messages of S3 back into the queue; any other stays among the dead letters, visible."""

import json

from typer.testing import CliRunner

from deployments.cli import app
from deployments.relay.dead_letters import redrive
from tests.deployments.relay.conftest import event, make_queue, messages_in
from tests.support.deployed_system import DeployedSystem


def test_messages_of_s3_are_moved_once_and_any_other_stays_and_is_listed(deployed_system: DeployedSystem) -> None:
    queue = make_queue(deployed_system.aws.client("sqs"), visibility_seconds=120)
    for number in range(23):
        queue.sqs.send_message(QueueUrl=queue.dead_letters_url, MessageBody=event(f"incoming/{number}.csv"))
    queue.sqs.send_message(QueueUrl=queue.dead_letters_url, MessageBody="hello")
    result = redrive(queue.sqs, queue.dead_letters_url, queue.url)
    assert (23, 23, ["hello"]) == (result.moved, queue.visible, queue.dead_letters)
    assert 1 == messages_in(queue.sqs, queue.dead_letters_url)
    assert ["no S3 event: 'hello'"] == list(result.left.values())


def test_the_command_prints_the_number_of_messages_moved(deployed_system: DeployedSystem) -> None:
    sqs = deployed_system.aws.client("sqs")
    sqs.send_message(QueueUrl=deployed_system.outputs.dead_letter_queue_url, MessageBody=event("incoming/a.csv"))
    try:
        as_json = CliRunner().invoke(app, ["redrive", "--json"])
        as_text = CliRunner().invoke(app, ["redrive"])
        waiting = deployed_system.attributes(deployed_system.outputs.queue_url)["ApproximateNumberOfMessages"]
    finally:
        sqs.purge_queue(QueueUrl=deployed_system.outputs.queue_url)
    assert {"moved": 1, "left": []} == json.loads(as_json.stdout)
    assert "0 message(s) moved back into the queue\n" == as_text.stdout
    assert waiting == "1"
