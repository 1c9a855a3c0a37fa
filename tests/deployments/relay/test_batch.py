"""What goes on together, and what went on before."""

from typing import TYPE_CHECKING, Any

from blocks.domain.limits import BYTES_PER_EVENT, CONTENT_BYTES_PER_EVENT
from blocks.domain.models import SensorFile
from deployments.relay.batch import Batch, Recent

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


def test_a_message_is_finished_when_the_last_of_its_files_was_announced() -> None:
    batch = Batch()
    batch.add(message("two"), [file("a"), file("b")], Recent())
    batch.add(message("one"), [file("b")], Recent())
    batch.add(message("none"), [], Recent())
    assert ["none"] == names(batch.settle([]))
    assert [] == batch.settle([file("a")])
    assert ["two", "one"] == names(batch.settle([file("b")]))
    assert [] == batch.messages


def test_a_batch_is_full_when_an_event_has_no_more_room_however_few_its_files() -> None:
    batch = Batch()
    for number in range(BYTES_PER_EVENT // 1000):
        batch.add(message(str(number)), [file(f"{LONG}{number}")], Recent())
        if batch.is_full:
            break
    assert 100 < len(batch.files) < BYTES_PER_EVENT // 1000
    assert batch.is_full


def test_a_batch_is_full_when_its_files_have_much_content() -> None:
    batch = Batch()
    half = {"size": CONTENT_BYTES_PER_EVENT // 2}
    batch.add(message("one"), [file("a").model_copy(update=half)], Recent())
    assert not batch.is_full
    batch.add(message("other"), [file("b").model_copy(update=half)], Recent())
    assert batch.is_full


def test_the_oldest_message_in_hand_counts() -> None:
    batch = Batch()
    assert batch.oldest is None
    batch.add(message("young", 2_000), [file("a")], Recent())
    batch.add(message("old", 1_000), [file("b")], Recent())
    assert 1.0 == batch.oldest


def test_the_oldest_of_what_is_too_much_is_forgotten_first() -> None:
    recent = Recent(capacity=2)
    recent.add([file("a"), file("b"), file("c")])
    assert [False, True, True] == [file(key) in recent for key in "abc"]


def test_a_version_is_known_whatever_else_its_announcement_says_and_an_etag_is_not() -> None:
    recent = Recent()
    recent.add([file("a"), file("b", None), file("c", "null")])
    again = [file("a", sequencer="0B"), file("b", None), file("b", None, "0B"), file("c", "null", "0B")]
    assert [True, True, False, False] == [each in recent for each in again]
