"""S3's events on their way through EventBridge into a queue: at least once, in any order, sometimes minutes late."""

import json
from functools import partial

from tests.simulation.aws.s3 import Bucket, Version
from tests.simulation.aws.sqs import Queue, Sqs

LATEST_SECONDS = 400.0


def announce(bucket: Bucket, queue: Queue, sqs: Sqs) -> None:
    """From now on, send an event into the queue for each object that is created in the bucket."""
    bucket.on_created.append(partial(_send, queue, sqs))


def event_body(bucket: str, version: Version) -> str:
    """The message. Source: "EventBridge event message structure", Amazon S3 user guide."""
    described = {
        "key": version.key,
        "size": len(version.content),
        "etag": version.etag.strip('"'),
        "sequencer": version.sequencer,
    }
    if version.version_id:
        described["version-id"] = version.version_id
    detail = {"version": "0", "bucket": {"name": bucket}, "object": described, "reason": "PutObject"}
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})


def _send(queue: Queue, sqs: Sqs, bucket: str, version: Version) -> None:
    random, faults, scheduler = sqs.random, sqs.network.faults, sqs.scheduler
    body = event_body(bucket, version)
    late = LATEST_SECONDS if random.random() < faults.late_delivery else 1.5
    scheduler.later(0.2 + late * random.random() ** 2, sqs.put, queue, body)
    if random.random() < faults.repeated_delivery:
        scheduler.later(0.2 + LATEST_SECONDS * random.random() ** 3, sqs.put, queue, body)
