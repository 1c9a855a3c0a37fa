"""What a queue message says has arrived. Pure rules about other people's formats, no I/O."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from blocks.domain.models import SensorFile
from blocks.domain.s3_keys import decoded_key, is_folder

_EVENTBRIDGE_CREATED: Final = "Object Created"
_NOTIFICATION_CREATED: Final = "ObjectCreated:"


class UnknownMessageError(ValueError):
    """The message is none that S3 sends; left alone, it ends among the dead letters, where somebody can look at it."""


def arrivals(body: str, *, prefix: str) -> list[SensorFile]:
    """The files under the prefix that one SQS message announces; none for test events, folders and deletions.

    Understands EventBridge events ("Object Created", key as it is) and S3 event notifications (`Records`, key
    form-encoded). Sources: "Amazon S3 event notification message structure" and "EventBridge event message structure",
    Amazon S3 user guide.

    Raises:
        UnknownMessageError: the message has neither form.
    """
    try:
        message = json.loads(body)
        found = list(_files(message))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnknownMessageError(f"no S3 event: {body[:200]!r}") from error
    return [file for file in found if file.key.startswith(prefix) and not is_folder(file.key)]


def _files(message: Mapping[str, Any]) -> Iterator[SensorFile]:
    if message.get("Event") == "s3:TestEvent":  # what S3 sends to a queue when it is first wired to it
        return
    if "Records" in message:
        for record in message["Records"]:
            # Deletions and the like are announced too, where a queue was wired to all events.
            if record["eventName"].removeprefix("s3:").startswith(_NOTIFICATION_CREATED):
                yield _file(record["s3"]["bucket"]["name"], record["s3"]["object"], decode=True)
    elif message["source"] == "aws.s3":
        if message["detail-type"] == _EVENTBRIDGE_CREATED:
            yield _file(message["detail"]["bucket"]["name"], message["detail"]["object"], decode=False)
    else:
        raise KeyError("source")


def _file(bucket: str, described: Mapping[str, Any], *, decode: bool) -> SensorFile:
    """The file; the two formats spell two of its fields differently (`versionId` or `version-id`, `eTag` or `etag`)."""
    key = described["key"]
    return SensorFile(
        bucket=bucket,
        key=decoded_key(key) if decode else key,
        version_id=described.get("version-id") or described.get("versionId"),
        etag=described.get("etag") or described.get("eTag"),
        size=described.get("size"),
        sequencer=described.get("sequencer"),
    )
