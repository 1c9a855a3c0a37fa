"""The floor of a burst: a long-running consumer of the queue that loads with boto3 alone, in place of the relay.

What the tutorial does with a file, without an orchestrator: read it, write its rows, move it. It keeps no ledger,
checks no row, reports nothing and sends no email, so nothing that does these can be as fast. Two processes, as many as
there are ingest runs at once, with eight threads each, as a run has.
"""

import csv
import io
import multiprocessing
import signal
import sys
import threading
from decimal import Decimal
from types import FrameType

import boto3

from blocks.domain.limits import RUNS_AT_ONCE
from blocks.stack_outputs import StackOutputs
from deployments.relay.s3_events import announced_files
from deployments.relay.sqs_queue import LONG_POLL_SECONDS, MESSAGES_PER_CALL
from deployments.settings import Settings

THREADS = 8


def consume(outputs: StackOutputs) -> None:
    session = boto3.Session()
    s3, sqs = session.client("s3"), session.client("sqs")
    table = session.resource("dynamodb").Table(outputs.readings_table_name)
    while True:
        messages = sqs.receive_message(
            QueueUrl=outputs.queue_url, MaxNumberOfMessages=MESSAGES_PER_CALL, WaitTimeSeconds=LONG_POLL_SECONDS
        ).get("Messages", [])
        for message in messages:
            for file in announced_files(message["Body"], prefix=outputs.incoming_prefix):
                text = s3.get_object(Bucket=file.bucket, Key=file.key)["Body"].read().decode()
                with table.batch_writer(overwrite_by_pkeys=["sensor_id", "timestamp"]) as batch:
                    for sensor, timestamp, value in csv.reader(io.StringIO(text)):
                        batch.put_item({"sensor_id": sensor, "timestamp": int(timestamp), "value": Decimal(value)})
                s3.copy_object(
                    Bucket=file.bucket,
                    Key=f"processed/{file.key}",
                    CopySource={"Bucket": file.bucket, "Key": file.key},
                )
                s3.delete_object(Bucket=file.bucket, Key=file.key)
        if messages:
            sqs.delete_message_batch(
                QueueUrl=outputs.queue_url,
                Entries=[
                    {"Id": each["MessageId"], "ReceiptHandle": each["ReceiptHandle"]}
                    for each in messages
                    if "MessageId" in each and "ReceiptHandle" in each
                ],
            )


def consume_in_threads(outputs: StackOutputs) -> None:
    threads = [threading.Thread(target=consume, args=(outputs,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()


def stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit()  # its processes are daemons: they end with it


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
    start = multiprocessing.get_context("spawn")
    processes = [start.Process(target=consume_in_threads, args=(outputs,), daemon=True) for _ in range(RUNS_AT_ONCE)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
