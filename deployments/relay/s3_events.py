"""The files that an SQS message announces. Pure rules about the two message formats of S3, no I/O."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from blocks.domain.models import SensorFile
from blocks.domain.s3_keys import decoded_key, is_file

_EVENTBRIDGE_CREATED: Final = "Object Created"
_NOTIFICATION_CREATED: Final = "ObjectCreated:"


class UnknownMessageError(ValueError):
    """The message has no format of S3. It is not deleted, so SQS makes it a dead letter after several receives."""


def announced_files(body: str, *, prefix: str) -> list[SensorFile]:
    """The files under the prefix that one SQS message announces; none for test events, folders and deletions.

    Two formats are known: EventBridge events ("Object Created", key as it is) and S3 event notifications (`Records`,
    key form-encoded).

    Raises:
        UnknownMessageError: the message has neither format.

    Sources: "Amazon S3 event notification message structure" and "EventBridge event message structure", Amazon S3 user
    guide.
    """
    try:
        found = list(_created_objects(json.loads(body)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnknownMessageError(f"no S3 event: {body[:200]!r}") from error
    return [file for file in found if file.key.startswith(prefix) and is_file(file.key)]


def _created_objects(message: Mapping[str, Any]) -> Iterator[SensorFile]:
    if message.get("Event") == "s3:TestEvent":  # S3 sends it when a queue is added to a bucket's notifications
        return
    if "Records" in message:
        for record in message["Records"]:
            # A bucket may send all types of events to the queue, deletions among them.
            if record["eventName"].removeprefix("s3:").startswith(_NOTIFICATION_CREATED):
                yield _file(record["s3"]["bucket"]["name"], record["s3"]["object"], decode=True)
    elif message["source"] == "aws.s3":
        if message["detail-type"] == _EVENTBRIDGE_CREATED:
            yield _file(message["detail"]["bucket"]["name"], message["detail"]["object"], decode=False)
    else:
        raise KeyError("source")


def _file(bucket: str, described: Mapping[str, Any], *, decode: bool) -> SensorFile:
    """The file; EventBridge names two fields `version-id` and `etag`, a notification `versionId` and `eTag`."""
    key = described["key"]
    return SensorFile(
        bucket=bucket,
        key=decoded_key(key) if decode else key,
        version_id=described.get("version-id") or described.get("versionId"),
        etag=described.get("etag") or described.get("eTag"),
        size=described.get("size"),
        sequencer=described.get("sequencer"),
    )
