"""A fake of SQS: standard queues, which deliver at least once and in any order.

Known differences: no queue is limited, and no message has attributes of its own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from tests.simulation.aws.service import FakeService
from tests.simulation.network import Deferred, Network
from tests.simulation.scheduler import START


@dataclass(eq=False)
class Message:
    """A message in a queue; one that SQS delivers twice is there twice."""

    message_id: str
    body: str
    sent_at: float
    visible_at: float
    handle: str = ""
    receives: int = 0


@dataclass(eq=False)
class Queue:
    """A standard queue."""

    url: str
    visibility_timeout: float = 30.0
    most_receives: int | None = None
    dead_letters: "Queue | None" = None
    messages: list[Message] = field(default_factory=list)
    waiting: list[tuple[Mapping[str, Any], Deferred]] = field(default_factory=list)
    """Long polls."""
    handles: dict[str, Message] = field(default_factory=dict)


class Sqs(FakeService):
    """Queues in memory."""

    name = "sqs"
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {
        "send_message": frozenset({"QueueUrl", "MessageBody", "DelaySeconds"}),
        "receive_message": frozenset(
            {
                "QueueUrl",
                "MaxNumberOfMessages",
                "WaitTimeSeconds",
                "VisibilityTimeout",
                "MessageSystemAttributeNames",
            }
        ),
        "delete_message": frozenset({"QueueUrl", "ReceiptHandle"}),
        "delete_message_batch": frozenset({"QueueUrl", "Entries"}),
        "change_message_visibility_batch": frozenset({"QueueUrl", "Entries"}),
        "get_queue_attributes": frozenset({"QueueUrl", "AttributeNames"}),
    }

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.queues: dict[str, Queue] = {}
        self._sent = 0
        self._received = 0

    def create_queue(self, name: str, *, visibility_timeout: float = 30.0, most_receives: int | None = None) -> Queue:
        """A new queue; with `most_receives` it has one for dead letters beside it."""
        url = f"https://sqs/{name}"
        queue = Queue(url, visibility_timeout, most_receives)
        if most_receives is not None:
            queue.dead_letters = self.create_queue(f"{name}-dead-letters")
        self.queues[url] = queue
        return queue

    def put(self, queue: Queue, body: str, delay: float = 0) -> Message:
        """A new message in the queue, visible after the delay in seconds."""
        self._sent += 1
        now = self.scheduler.now
        message = Message(f"message-{self._sent}", body, now, now + delay)
        queue.messages.append(message)
        self.scheduler.at(message.visible_at, self._serve, queue)
        return message

    def send_message(self, call: Mapping[str, Any]) -> dict[str, Any]:
        message = self.put(self._queue("send_message", call), call["MessageBody"], call.get("DelaySeconds", 0))
        return self.answer(MessageId=message.message_id, MD5OfMessageBody=_md5(message.body))

    def receive_message(self, call: Mapping[str, Any]) -> dict[str, Any] | Deferred:
        queue = self._queue("receive_message", call)
        received = self._received_now(queue, call)
        wait = call.get("WaitTimeSeconds", 0)
        if received or not wait or self.network.direct:
            return self.answer(**({"Messages": received} if received else {}))
        deferred = Deferred()
        queue.waiting.append((call, deferred))
        self.scheduler.later(wait, self._end_wait, queue, deferred)
        for message in queue.messages:
            self.scheduler.at(message.visible_at, self._serve, queue)
        return deferred

    def delete_message(self, call: Mapping[str, Any]) -> dict[str, Any]:
        self._delete(self._queue("delete_message", call), call["ReceiptHandle"])
        return self.answer()

    def delete_message_batch(self, call: Mapping[str, Any]) -> dict[str, Any]:
        queue = self._queue("delete_message_batch", call)
        for entry in call["Entries"]:
            self._delete(queue, entry["ReceiptHandle"])
        return self.answer(Successful=[{"Id": entry["Id"]} for entry in call["Entries"]])

    def change_message_visibility_batch(self, call: Mapping[str, Any]) -> dict[str, Any]:
        queue = self._queue("change_message_visibility_batch", call)
        changed = {entry["Id"]: self._changed(queue, entry) for entry in call["Entries"]}
        done = [{"Id": name} for name, was_changed in changed.items() if was_changed]
        refused = [
            {"Id": name, "SenderFault": True, "Code": "MessageNotInflight", "Message": "It is not in flight"}
            for name, was_changed in changed.items()
            if not was_changed
        ]
        return self.answer(**({"Successful": done} if done else {}), **({"Failed": refused} if refused else {}))

    def get_queue_attributes(self, call: Mapping[str, Any]) -> dict[str, Any]:
        queue, now = self._queue("get_queue_attributes", call), self.scheduler.now
        visible = sum(message.visible_at <= now for message in queue.messages)
        counts = {
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(len(queue.messages) - visible),
        }
        return self.answer(Attributes={name: counts[name] for name in call["AttributeNames"]})

    def _queue(self, operation: str, call: Mapping[str, Any]) -> Queue:
        queue = self.queues.get(call["QueueUrl"])
        if queue is None:
            code = "AWS.SimpleQueueService.NonExistentQueue"
            raise self.error(operation, code, "The specified queue does not exist.", kind="QueueDoesNotExist")
        return queue

    def _received_now(self, queue: Queue, call: Mapping[str, Any]) -> list[dict[str, Any]]:
        now = self.scheduler.now
        visible = [message for message in queue.messages if message.visible_at <= now]
        self.random.shuffle(visible)
        taken = visible[: call.get("MaxNumberOfMessages", 1)]
        hidden = call.get("VisibilityTimeout", queue.visibility_timeout)
        wanted = call.get("MessageSystemAttributeNames", ())
        return [self._received_once(queue, each, hidden, wanted) for each in taken if not self._is_dead(queue, each)]

    def _is_dead(self, queue: Queue, message: Message) -> bool:
        if queue.most_receives is None or message.receives < queue.most_receives or queue.dead_letters is None:
            return False
        queue.messages.remove(message)
        queue.dead_letters.messages.append(replace(message, receives=0))
        return True

    def _received_once(self, queue: Queue, message: Message, hidden: float, wanted: Sequence[str]) -> dict[str, Any]:
        now = self.scheduler.now
        message.receives += 1
        self._received += 1
        message.handle = f"receipt-{self._received}"
        message.visible_at = now + hidden
        queue.handles[message.handle] = message
        if not self.network.direct and self.random.random() < self.network.faults.repeated_delivery:
            # Another server of SQS has it, too, and hears neither of the receipt nor of a deletion.
            repeated_at = now + 60 * self.random.random() ** 2
            queue.messages.append(replace(message, handle="", visible_at=repeated_at))
            self.scheduler.at(repeated_at, self._serve, queue)
        sent_ms = int((START.timestamp() + message.sent_at) * 1000)
        known = {"SentTimestamp": str(sent_ms), "ApproximateReceiveCount": str(message.receives)}
        attributes = {name: known[name] for name in wanted}
        received = {"MessageId": message.message_id, "ReceiptHandle": message.handle, "Body": message.body}
        return received | {"MD5OfBody": _md5(message.body)} | ({"Attributes": attributes} if wanted else {})

    def _delete(self, queue: Queue, handle: str) -> None:
        """Delete a message; an old receipt of one that was received again may have no effect.

        Source: "DeleteMessage", Amazon SQS API reference.
        """
        message = queue.handles.get(handle)
        if message in queue.messages and (message.handle == handle or self.random.random() < 0.5):
            queue.messages.remove(message)

    def _changed(self, queue: Queue, entry: Mapping[str, Any]) -> bool:
        now, message = self.scheduler.now, queue.handles.get(entry["ReceiptHandle"])
        if message is None or message not in queue.messages or message.visible_at <= now:
            return False
        message.visible_at = now + entry["VisibilityTimeout"]
        self.scheduler.at(message.visible_at, self._serve, queue)
        return True

    def _serve(self, queue: Queue) -> None:
        """Answer long polls, if there is a message for them."""
        while queue.waiting:
            call, deferred = queue.waiting[0]
            received = self._received_now(queue, call)
            if not received:
                return
            queue.waiting.pop(0)
            deferred.resolve(self.answer(Messages=received))

    def _end_wait(self, queue: Queue, deferred: Deferred) -> None:
        for waiting in queue.waiting:
            if waiting[1] is deferred:
                queue.waiting.remove(waiting)
                deferred.resolve(self.answer())
                return


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
