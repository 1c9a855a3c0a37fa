"""Which files are announced in one event, and which are duplicates."""

from typing import TYPE_CHECKING, Any

from blocks.domain.limits import BYTES_PER_EVENT, CONTENT_BYTES_PER_EVENT
from blocks.domain.models import SensorFile
from deployments.relay.batch import Batch, RecentVersions

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LONG = "incoming/" + "x" * 1000


def file(key: str, version: str | None = "v1", sequencer: str = "0A") -> SensorFile:
    return SensorFile(bucket="landing", key=key, version_id=version, etag="e1", sequencer=sequencer)


def message(name: str, sent: int = 0) -> "MessageTypeDef":
    content: Any = {"MessageId": name, "Attributes": {"SentTimestamp": str(sent)}}
    found: MessageTypeDef = content
    return found


def names(messages: "list[MessageTypeDef]") -> list[str]:
    return [each["MessageId"] for each in messages]


def test_a_message_is_completed_when_the_last_of_its_files_was_announced() -> None:
    batch = Batch()
    batch.add(message("two"), [file("a"), file("b")], RecentVersions())
    batch.add(message("one"), [file("b")], RecentVersions())
    batch.add(message("none"), [], RecentVersions())
    assert ["none"] == names(batch.take_completed())
    assert [] == batch.take_completed([file("a")])
    assert ["two", "one"] == names(batch.take_completed([file("b")]))
    assert [] == batch.messages


def test_a_batch_of_few_files_with_long_keys_is_full_at_the_byte_limit() -> None:
    batch = Batch()
    for number in range(BYTES_PER_EVENT // 1000):
        batch.add(message(str(number)), [file(f"{LONG}{number}")], RecentVersions())
        if batch.is_full:
            break
    assert 100 < len(batch.files) < BYTES_PER_EVENT // 1000
    assert batch.is_full


def test_a_batch_is_full_at_the_limit_of_content() -> None:
    batch = Batch()
    half = {"size": CONTENT_BYTES_PER_EVENT // 2}
    batch.add(message("one"), [file("a").model_copy(update=half)], RecentVersions())
    assert not batch.is_full
    batch.add(message("other"), [file("b").model_copy(update=half)], RecentVersions())
    assert batch.is_full


def test_the_oldest_message_in_flight_is_found_by_its_timestamp() -> None:
    batch = Batch()
    assert batch.oldest_sent_at is None
    batch.add(message("young", 2_000), [file("a")], RecentVersions())
    batch.add(message("old", 1_000), [file("b")], RecentVersions())
    assert 1.0 == batch.oldest_sent_at


def test_beyond_the_capacity_the_oldest_version_is_forgotten_first() -> None:
    recent = RecentVersions(capacity=2)
    recent.add([file("a"), file("b"), file("c")])
    assert [False, True, True] == [file(key) in recent for key in "abc"]


def test_a_version_is_recognised_without_its_sequencer_and_an_etag_only_with_it() -> None:
    recent = RecentVersions()
    recent.add([file("a"), file("b", None), file("c", "null")])
    again = [file("a", sequencer="0B"), file("b", None), file("b", None, "0B"), file("c", "null", "0B")]
    assert [True, True, False, False] == [each in recent for each in again]
