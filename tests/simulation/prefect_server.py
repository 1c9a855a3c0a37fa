"""The few things that the product asks of a Prefect server, with the ways in which it fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar, Self
from uuid import UUID

from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import SetStateStatus

from blocks.domain.models import FileReport, Notification, SensorFile
from tests.simulation.aws.service import FakeService
from tests.simulation.network import Network
from tests.simulation.processes import Process

SLOTS = 2
EMAIL_SLOTS = 1
"""Fewer than in production, so that emails are overdue more often before their runs begin."""

SILENT_SECONDS = 100.0
"""After which a run without a process is crashed, as by the automation or the relay."""


@dataclass
class Run:
    """A flow run."""

    id: str
    kind: str
    parameters: Mapping[str, Any]
    state: StateType
    since: float
    process: Process | None = None
    is_forgotten: bool = False
    """Whether its wait was lost: it stays paused, unless what it is for turns out to be overdue."""

    @property
    def is_over(self) -> bool:
        return self.state in (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED)


@dataclass(frozen=True)
class Chances:
    """How often the server and its worker fail, drawn once for each seed."""

    automation_lost: float
    """An event is acknowledged, and its automation starts no run: the server restarts at that moment."""
    event_twice: float
    """An event is taken twice: the server has forgotten that it came."""
    wait_lost: float
    """A paused run is not resumed when its wait is over."""
    falsely_crashed: float
    """A live run is called crashed. Its slot is free, and its process goes on."""
    sent_again: float
    """A run that is to send an email is started again after its end, by a person for example."""


class PrefectServer(FakeService):
    """Runs of the two flows, their states, and the worker that starts them."""

    name = "prefect"
    api = "s3"  # for the classes of its errors: the product tells none of them apart
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {
        "announce": frozenset({"Objects"}),
        "create_notify": frozenset({"Files", "EmailId", "WaitSeconds"}),
        "read": frozenset({"Id"}),
        "read_deployment": frozenset(),
        "end": frozenset({"Id", "State"}),
        "resume": frozenset({"Id"}),
        "free_slots": frozenset({"Take"}),
    }

    def __init__(self, network: Network, chances: Chances, start: Callable[[Run], Process]) -> None:
        super().__init__(network)
        self.chances, self._start_process = chances, start
        self.runs: dict[str, Run] = {}
        self._expected_runs: list[float] = []
        """When events were announced whose run does not exist yet."""

    # ---- What the product calls -----------------------------------------------------------------------------------

    def announce(self, call: Mapping[str, Any]) -> dict[str, Any]:
        times = 1
        if self.random.random() < self.chances.automation_lost:
            self.scheduler.log("prefect", "restarts: the event starts no run")
            times = 0
        elif self.random.random() < self.chances.event_twice:
            times = 2
        for _ in range(times):
            parameters = {"objects": call["Objects"]}
            self.scheduler.later(self.random.uniform(0.05, 1.0), self._create, "ingest", parameters)
        return self.answer()

    def create_notify(self, call: Mapping[str, Any]) -> dict[str, Any]:
        parameters = {"files": call["Files"], "email_id": call["EmailId"]}
        run = self._create("notify", parameters, StateType.PAUSED)
        run.is_forgotten = self.random.random() < self.chances.wait_lost
        if not run.is_forgotten:
            self.scheduler.later(call["WaitSeconds"] + self.random.uniform(0, 5), self._resume, run)
        return self.answer(Id=run.id)

    def read(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return self.answer(Run=self.runs.get(call["Id"]))

    def read_deployment(self, _call: Mapping[str, Any]) -> dict[str, Any]:
        return self.answer()

    def end(self, call: Mapping[str, Any]) -> dict[str, Any]:
        run, state = self.runs[call["Id"]], call["State"]
        if not run.is_over:
            self.scheduler.log("prefect", "{} is {} from now on".format, run.id, state)
            self._enter(run, state)
        return self.answer()

    def resume(self, call: Mapping[str, Any]) -> dict[str, Any]:
        run = self.runs[call["Id"]]
        status = SetStateStatus.ACCEPT if run.state == StateType.PAUSED else SetStateStatus.ABORT
        self._resume(run)
        return self.answer(Status=status)

    def free_slots(self, call: Mapping[str, Any]) -> dict[str, Any]:
        now = self.scheduler.now
        self._expected_runs = [each for each in self._expected_runs if now - each < 60]
        active = sum(run.kind == "ingest" and not run.is_over for run in self.runs.values())
        free = max(0, SLOTS - active - len(self._expected_runs))
        if free and call["Take"]:
            self._expected_runs.append(now)
        return self.answer(Free=free)

    # ---- Server and worker ----------------------------------------------------------------------------------------

    def _create(self, kind: str, parameters: Mapping[str, Any], state: StateType = StateType.SCHEDULED) -> Run:
        run_id = str(UUID(int=self.random.getrandbits(128), version=4))
        run = self.runs[run_id] = Run(run_id, kind, parameters, state, self.scheduler.now)
        if kind == "ingest" and self._expected_runs:
            self._expected_runs.pop(0)
        if state == StateType.SCHEDULED:
            self._start_soon(run)
        return run

    def _resume(self, run: Run) -> None:
        if run.state == StateType.PAUSED:
            run.is_forgotten = False
            self._enter(run, StateType.SCHEDULED)
            self._start_soon(run)

    def _start_soon(self, run: Run) -> None:
        self.scheduler.later(self.random.uniform(1, 6), self._start, run)

    def _start(self, run: Run) -> None:
        if run.is_over and self.random.random() < 0.5:  # else the worker has fetched it before
            return
        running = sum(each.kind == run.kind and each.state == StateType.RUNNING for each in self.runs.values())
        if running >= (SLOTS if run.kind == "ingest" else EMAIL_SLOTS):
            self.scheduler.later(2, self._start, run)
            return
        self._enter(run, StateType.RUNNING)
        run.process = self._start_process(run)
        run.process.on_end(lambda process: self._ended(run, process))
        if self.random.random() < self.chances.falsely_crashed:
            self.scheduler.later(self.random.uniform(0.5, 60), self._crash, run)

    def _ended(self, run: Run, process: Process) -> None:
        if run.kind == "notify" and self.random.random() < self.chances.sent_again:
            self.scheduler.later(self.random.uniform(0, 100), self._start_process, run)
        if process.ended == "finished":
            self._enter(run, StateType.COMPLETED)
        elif process.ended == "failed":
            self._enter(run, StateType.FAILED)
        elif self.random.random() < 0.5:  # its worker lives, and sees the end
            self.scheduler.later(1, self._crash, run)
        else:
            self.scheduler.later(SILENT_SECONDS, self._crash, run)

    def _crash(self, run: Run) -> None:
        if not run.is_over:
            self.scheduler.log("prefect", "calls {} crashed".format, run.id)
            self._enter(run, StateType.CRASHED)

    def _enter(self, run: Run, state: StateType) -> None:
        if not run.is_over:
            run.state, run.since = state, self.scheduler.now


@dataclass
class SimulatedSlots:
    """The run slots, as relay and sweep use them."""

    server: PrefectServer

    def free(self) -> int:
        return int(self.server.client.free_slots(Take=False)["Free"])

    def take(self) -> bool:
        return bool(self.server.client.free_slots(Take=True)["Free"])


@dataclass
class SimulatedClient:
    """What `get_client` returns to code that looks after overdue emails."""

    server: PrefectServer
    resumed: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_run(self, run_id: UUID) -> Any:  # noqa: ANN401 - as much of a FlowRun as the product looks at
        run: Run | None = self.server.client.read(Id=str(run_id))["Run"]
        if run is None:
            raise ValueError(f"no run {run_id}")
        scheduler = self.server.scheduler
        return SimpleNamespace(
            id=run_id,
            name=run.id,
            state_type=run.state,
            state=SimpleNamespace(timestamp=scheduler.true_time - timedelta(seconds=scheduler.now - run.since)),
            deployment_id="deployment",
            work_queue_id="queue",
            work_pool_name="pool",
            parent_task_run_id=None,
            parameters={
                "files": [file.model_dump(mode="json") for file in run.parameters["files"]],
                "email_id": run.parameters["email_id"],
            },
        )

    def read_deployment_by_name(self, _name: str) -> None:
        self.server.client.read_deployment()

    def read_work_queue(self, _id: str) -> Any:  # noqa: ANN401 - likewise
        return SimpleNamespace(is_paused=False)

    def read_work_pool(self, _name: str) -> Any:  # noqa: ANN401 - likewise
        return SimpleNamespace(is_paused=False)

    def set_flow_run_state(self, run_id: UUID, state: "State[None]") -> None:
        self.server.client.end(Id=str(run_id), State=state.type)

    def resume_flow_run(self, run_id: UUID) -> Any:  # noqa: ANN401 - likewise
        return SimpleNamespace(status=self.server.client.resume(Id=str(run_id))["Status"])


def announcement(server: PrefectServer) -> Callable[[Sequence[SensorFile], str, str], object]:
    """What stands for `announce` of the product."""

    def announce(files: Sequence[SensorFile], _prefix: str = "", _occasion: str = "") -> object:
        return server.client.announce(Objects=list(files))

    return announce


def notification(
    server: PrefectServer, reports: Sequence[FileReport], wait_seconds: float, email_id: str
) -> Notification:
    """The run that sends the email about these files after the wait."""
    run_id = server.client.create_notify(Files=list(reports), EmailId=email_id, WaitSeconds=wait_seconds)["Id"]
    return Notification(flow_run_id=run_id, flow_run_name=run_id, state="Paused", due_at=None)
