"""What the simulated queue does that an emulator never shows: it delivers late, again, and in any order."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from deployments.relay.s3_events import announced_files
from tests.simulation.aws.events import announce
from tests.simulation.aws.sqs import Queue
from tests.simulation.faults import Faults
from tests.simulation.world import World

Received = list[tuple[float, str]]


def received(world: World, queue: Queue, *, delete: bool, until: float = 2000.0) -> Received:
    """When a process received which message, in long polls, until that time."""
    found: Received = []

    def receive() -> None:
        while True:
            answer = world.sqs.client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=20, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                found.append((world.scheduler.now, message["Body"]))
                if delete:
                    handle = message["ReceiptHandle"]
                    world.sqs.client.delete_message(QueueUrl=queue.url, ReceiptHandle=handle)

    world.process("relay", receive)
    world.run(until=until)
    return found


def test_a_long_poll_ends_when_a_message_comes() -> None:
    with World(1, Faults()) as world:
        queue = world.sqs.create_queue("queue")
        world.scheduler.at(7, world.sqs.put, queue, "hello")
        ((at, body),) = received(world, queue, delete=True)
        assert (round(at), body) == (7, "hello")


def test_a_message_that_is_not_deleted_comes_again_until_it_is_a_dead_letter() -> None:
    with World(1, Faults()) as world:
        queue = world.sqs.create_queue("queue", visibility_timeout=125, most_receives=5)
        world.sqs.put(queue, "hello")
        times = [at for at, _ in received(world, queue, delete=False)]
        assert [round(later - earlier) for earlier, later in pairwise(times)] == [125] * 4
        assert queue.dead_letters is not None
        assert [message.body for message in queue.dead_letters.messages] == ["hello"]
        assert queue.messages == []


def test_messages_are_delivered_again_although_they_were_deleted() -> None:
    with World(1, Faults(repeated_delivery=0.3)) as world:
        queue = world.sqs.create_queue("queue")
        for number in range(50):
            world.sqs.put(queue, str(number))
        bodies = [body for _, body in received(world, queue, delete=True)]
        assert set(bodies) == {str(number) for number in range(50)}
        assert len(bodies) > 55
        assert bodies != sorted(bodies, key=int)


@pytest.mark.parametrize(("faults", "latest"), [(Faults(), 2), (Faults(late_delivery=1.0), 600)])
def test_an_upload_is_announced(faults: Faults, latest: float) -> None:
    with World(1, faults) as world:
        queue, bucket = world.sqs.create_queue("queue"), world.s3.create_bucket("landing")
        announce(bucket, queue, world.sqs)
        for number in range(20):
            world.s3.client.put_object(Bucket="landing", Key=f"incoming/{number}.csv", Body=b"x")
        found = received(world, queue, delete=True)
        assert len(found) == 20
        assert latest / 2 < max(at for at, _ in found) <= latest + 0.5
        ((file,),) = [announced_files(body, prefix="incoming/3") for _, body in found if "incoming/3.csv" in body]
        assert (file.uri, file.size) == ("s3://landing/incoming/3.csv", 1)
        version = bucket.current("incoming/3.csv")
        assert version is not None
        assert (file.version_id, file.etag) == (version.version_id, version.etag.strip('"'))


def write(world: World, fence: Callable[[], object] = lambda: None) -> tuple[int | None, int]:
    """The result of a write of 200 rows, and how many sends were not answered."""
    results: list[int] = []
    unanswered: list[None] = []
    rows = [("0000-0001", number, "1.5") for number in range(200)]

    def run() -> None:
        results.append(
            world.readings.write(rows, version="v1", fence=fence, on_unanswered=lambda: unanswered.append(None))
        )

    world.process("worker", run, skew=0)
    world.run()
    return (results[0] if results else None), len(unanswered)


def test_all_rows_are_written_whatever_is_lost() -> None:
    with World(2, Faults(rates={"answer lost": 0.2, "request lost": 0.2, "request late": 0.2})) as world:
        written, unanswered = write(world)
        assert written == len(world.readings.rows) == 200
        assert unanswered > 0
        assert len(world.readings.log) > 200
        assert {each.version for each in world.readings.log} == {"v1"}


def test_a_fence_ends_the_write() -> None:
    with World(2, Faults()) as world:
        sends: list[float] = []

        def fence() -> None:
            sends.append(world.scheduler.now)
            if len(sends) > 5:
                raise RuntimeError("the lease is lost")

        assert write(world, fence) == (None, 0)
        assert 0 < len(world.readings.rows) <= 125
        assert str(world.processes[0].error) == "the lease is lost"


def test_a_mail_is_sent_although_its_answer_is_lost() -> None:
    with World(2, Faults(rates={"answer lost": 1.0})) as world:
        call = {
            "FromEmailAddress": "from@example.org",
            "Destination": {"ToAddresses": ["to@example.org"]},
            "Content": {"Raw": {"Data": b"text"}},
        }
        process = world.process("notify", lambda: world.ses.client.send_email(**call))
        world.run()
        assert process.ended == "failed"
        assert [(mail.process, mail.recipients) for mail in world.ses.mails] == [("notify", ("to@example.org",))]
