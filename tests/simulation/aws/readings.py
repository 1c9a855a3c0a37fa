"""The readings table in a simulation: batches of rows, a log of every write, and a writer that sends them.

The fast writer of the product has an event loop and threads of its own; this one sends as it does, several batches at
once and each until it is acknowledged, but from simulated threads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from tests.simulation.aws.service import FakeService
from tests.simulation.network import Network
from tests.simulation.processes import running_thread
from tests.simulation.runtime import mapped

Row = tuple[str, int, str]
"""Sensor, timestamp in seconds, value."""


@dataclass(frozen=True)
class Write:
    """A row that the table took."""

    at: float
    """Seconds of true time since the start."""
    process: str
    version: str
    """The version of the file that the row is from."""
    row: Row


class Readings(FakeService):
    """The table: value by sensor and timestamp."""

    name = "readings"
    api = "dynamodb"
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {"batch_write": frozenset({"Rows", "Version"})}

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.rows: dict[tuple[str, int], str] = {}
        self.log: list[Write] = []
        self.on_written: list[Callable[[str], object]] = []
        """Called with the version, when rows of it have arrived."""

    def batch_write(self, call: Mapping[str, Any]) -> dict[str, Any]:
        caller = self.network.caller
        process = caller.name if caller else ""
        for row in call["Rows"]:
            self.rows[row[0], row[1]] = row[2]
            self.log.append(Write(self.scheduler.now, process, call["Version"], row))
        for told in self.on_written:
            told(call["Version"])
        return self.answer(UnprocessedItems={})

    def write(
        self,
        rows: Iterable[Row],
        *,
        version: str,
        fence: Callable[[], object] = lambda: None,
        on_unanswered: Callable[[], object] = lambda: None,
        batch_rows: int = 25,
        connections: int = 4,
        patience_seconds: float = 300.0,
    ) -> int:
        """The number of rows written; all are acknowledged.

        Args:
            rows: each key once.
            version: the version of the file that they are from, for the log.
            fence: called before each send; its error ends the write, while other sends are on their way.
            on_unanswered: called after each send that may have its effect later, as nobody knows what became of it.
            batch_rows: rows in one send.
            connections: sends at the same time.
            patience_seconds: time without an answer after which the error of the last send is raised.
        """
        everything = list(rows)
        batches = [everything[start : start + batch_rows] for start in range(0, len(everything), batch_rows)]
        return sum(mapped(_Sender(self, version, fence, on_unanswered, patience_seconds).send, batches, connections))


@dataclass
class _Sender:
    readings: Readings
    version: str
    fence: Callable[[], object]
    on_unanswered: Callable[[], object]
    patience_seconds: float
    failed: bool = False

    def send(self, batch: Sequence[Row]) -> int:
        """The number of rows in the batch, once they are acknowledged."""
        thread, random = running_thread(), self.readings.random
        started, attempts = thread.process.monotonic(), 0
        while not self.failed:
            try:
                self.fence()
                self.readings.client.batch_write(Rows=batch, Version=self.version)
                return len(batch)
            except (BotoCoreError, ClientError) as error:
                attempts += 1
                self._note(error)
                if thread.process.monotonic() - started > self.patience_seconds:
                    self.failed = True
                    raise
                thread.sleep(random.random() * min(0.05 * 2**attempts, 5.0))
            except BaseException:
                self.failed = True
                raise
        return 0

    def _note(self, error: Exception) -> None:
        refused = isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
        if not refused and not isinstance(error, EndpointConnectionError):
            self.on_unanswered()
