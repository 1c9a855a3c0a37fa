"""Dead letters go back to the queue; what S3 never sent stays where it can be looked at."""

import json

from typer.testing import CliRunner

from deployments.cli import app
from deployments.relay.dead_letters import redrive
from tests.deployments.relay.conftest import event, make_queue
from tests.support.deployed_system import DeployedSystem


def test_what_s3_sent_goes_back_once_and_the_rest_is_named_and_left_in_sight(deployed_system: DeployedSystem) -> None:
    queue = make_queue(deployed_system.aws.client("sqs"), visibility_seconds=120)
    for number in range(23):
        queue.sqs.send_message(QueueUrl=queue.dead_letters_url, MessageBody=event(f"incoming/{number}.csv"))
    queue.sqs.send_message(QueueUrl=queue.dead_letters_url, MessageBody="hello")
    done = redrive(queue.sqs, queue.dead_letters_url, queue.url)
    assert (23, 23, ["hello"]) == (done.moved, queue.visible, queue.dead_letters)
    assert ["no S3 event: 'hello'"] == list(done.left.values())


def test_the_command_counts_what_it_put_back(deployed_system: DeployedSystem) -> None:
    sqs = deployed_system.aws.client("sqs")
    sqs.send_message(QueueUrl=deployed_system.outputs.dead_letter_queue_url, MessageBody=event("incoming/a.csv"))
    try:
        told = CliRunner().invoke(app, ["redrive", "--json"])
        again = CliRunner().invoke(app, ["redrive"])
        waiting = deployed_system.attributes(deployed_system.outputs.queue_url)["ApproximateNumberOfMessages"]
    finally:
        sqs.purge_queue(QueueUrl=deployed_system.outputs.queue_url)
    assert {"moved": 1, "left": []} == json.loads(told.stdout)
    assert "0 message(s) put back into the queue\n" == again.stdout
    assert waiting == "1"
