"""What the relay is compared with: each message becomes an event of its own, at once, and so each file a run.

What holds runs back is then Prefect alone: the limits of deployment and pool. While Prefect is too busy to take an
event, its message stays in the queue, and comes again.
"""

import boto3

from blocks.stack_outputs import StackOutputs
from deployments.relay.s3_events import announced_files
from deployments.relay.sqs_queue import LONG_POLL_SECONDS, SqsQueue
from deployments.relay.stop_signal import StopRequested, StopSignal
from deployments.settings import Settings
from flows.events.file_arrivals import announce


def main() -> None:
    outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
    queue = SqsQueue(boto3.client("sqs"), outputs.queue_url)
    with StopSignal() as stop:
        while not stop.requested:
            try:
                messages = queue.receive(stop, LONG_POLL_SECONDS)
            except StopRequested:
                return
            for message in messages:
                try:
                    for file in announced_files(message["Body"], prefix=outputs.incoming_prefix):
                        announce([file], outputs.incoming_prefix)
                        print("announced", file.uri, flush=True)
                except Exception as error:  # noqa: BLE001 - Prefect is away in many ways
                    print("not announced:", error, flush=True)
                else:
                    queue.delete([message])


if __name__ == "__main__":
    main()
