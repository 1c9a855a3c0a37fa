"""One simulated world: the scheduler, the network, the services, and the processes that use them."""

from collections.abc import Callable
from typing import Self

from tests.simulation.aws.dynamodb import DynamoDb
from tests.simulation.aws.readings import Readings
from tests.simulation.aws.s3 import S3
from tests.simulation.aws.service import Client
from tests.simulation.aws.ses import Ses
from tests.simulation.aws.sqs import Sqs
from tests.simulation.faults import Faults
from tests.simulation.network import Network
from tests.simulation.processes import MOST_SKEW_SECONDS, Process
from tests.simulation.runtime import SimulatedRuntime
from tests.simulation.scheduler import Scheduler


class World:
    """All of one simulation. As a context manager it ends what still runs.

    Args:
        seed: decides every time, order and fault.
        faults: what goes wrong; drawn by the seed if left out.
    """

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.scheduler = Scheduler(seed)
        self.random = self.scheduler.random
        self.trace = self.scheduler.trace
        self.faults = faults or Faults.drawn(self.random)
        self.network = Network(self.scheduler, self.faults)
        self.runtime = SimulatedRuntime(self.scheduler)
        self.dynamodb = DynamoDb(self.network)
        self.s3 = S3(self.network)
        self.sqs = Sqs(self.network)
        self.ses = Ses(self.network)
        self.readings = Readings(self.network)
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end_quietly()

    def client(self, service: str) -> Client:
        """What `client_of` returns in a simulation."""
        clients = {each.name: each.client for each in (self.dynamodb, self.s3, self.sqs, self.ses)}
        return clients[service]

    def process(
        self, name: str, function: Callable[[], object], *, skew: float | None = None, faults: bool = True
    ) -> Process:
        """A process that starts now; the seed draws how wrong its clock is."""
        if skew is None:
            skew = self.random.choice((0.0, self.random.uniform(-MOST_SKEW_SECONDS, MOST_SKEW_SECONDS)))
        process = Process(self.scheduler, name, function, skew=skew, faults=faults)
        self.processes.append(process)
        return process

    def run(self, until: float = float("inf"), *, ended: Callable[[], bool] | None = None) -> None:
        """Run until that time in seconds, until nothing is left to do, or until `ended` says so."""
        self.scheduler.run(until, ended=ended)
