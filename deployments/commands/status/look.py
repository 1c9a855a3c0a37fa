"""One look at the system: AWS and the Prefect server are asked side by side; a part that does not answer says why."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Final, TypeVar

from blocks.domain.errors import SensorIngestError
from blocks.domain.text import printable
from blocks.stack_outputs import StackOutputs
from deployments.commands.status.aws_parts import AwsParts
from deployments.commands.status.ledger import LedgerReader
from deployments.commands.status.prefect_parts import PrefectParts, starts
from deployments.commands.status.seen import Ledger, Status, Unanswered

Seen = TypeVar("Seen")

_QUESTIONS_AT_ONCE: Final = 12


class System:
    """The system that the environment names; its clients are kept from one look to the next."""

    def __init__(self) -> None:
        self._aws = AwsParts()
        self._prefect = PrefectParts()

    def look(self) -> Status:
        """What all parts say now. It raises nothing: what is raised is the reason why a part is not known."""
        with ThreadPoolExecutor(_QUESTIONS_AT_ONCE) as threads:

            def submit(question: Callable[[], Seen]) -> Future[Seen]:
                return threads.submit(copy_context().run, question)  # Prefect's settings may be those of a context

            pool = submit(self._prefect.pool)
            queues = submit(lambda: self._prefect.queues(pool.result()))
            workers = submit(lambda: self._prefect.workers(pool.result(), queues.result()))
            runs = submit(lambda: self._prefect.runs(queues.result(), threads))
            warm = submit(lambda: starts(pool.result()))
            outputs: Future[StackOutputs] = Future()
            queue = submit(lambda: self._aws.queue(outputs.result()))
            relay = submit(lambda: self._aws.relay(queue.result))
            incoming = submit(lambda: self._aws.incoming(outputs.result()))
            ledger = submit(lambda: self._ledger(outputs.result()))
            _settle(outputs, self._aws.prepare)
            return Status(
                at=datetime.now(UTC),
                stack=self._aws.stack,
                queue=_seen(lambda: queue.result()[0]),
                incoming=_seen(incoming.result),
                relay=_seen(relay.result),
                workers=_seen(workers.result),
                starts=_seen(warm.result),
                runs=_seen(runs.result),
                ledger=_seen(ledger.result),
            )

    def _ledger(self, outputs: StackOutputs) -> Ledger:
        return LedgerReader(self._aws.dynamodb, outputs.files_table_name).look()


def _settle(future: "Future[Seen]", call: Callable[[], Seen]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # Ctrl-C, too: the threads that wait for it would never end
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise


def _seen(answer: Callable[[], Seen]) -> Seen | Unanswered:
    try:
        return answer()
    except Exception as error:  # noqa: BLE001 - whatever one part raises, the others are shown
        return Unanswered(_reason(error))


def _reason(error: Exception) -> str:
    """One line about the error, with what to do about it if that is known."""
    if isinstance(error, SensorIngestError):
        text = str(error)
    else:
        from deployments.commands.connection_errors import remedy

        text = remedy(error) or f"{type(error).__name__}: {error}"
    return printable(" ".join(text.split()))
