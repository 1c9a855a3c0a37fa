"""An embedded stack whose way to AWS leads through the fault proxy, and hands to break and to mend it with."""

import logging
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_RETRY_EXTRA_CODES, temporary_settings

from blocks.domain.models import SweepReport, utc_text
from deployments.embedded import EmbeddedStack, StackDescription
from deployments.embedded.parts import Part
from deployments.embedded.processes import find_process, other_processes
from deployments.embedded.services.mailbox import mails
from deployments.embedded.services.prefect import worker_part
from deployments.embedded.startup import RELAY_COMMAND
from deployments.embedded.supervisor import Supervisor
from deployments.embedded.variables import child_environment
from deployments.server.prefect_yaml import prefect_deploy_all
from flows.sweep import sweep
from tests.faults import settings as settings_of_the_system
from tests.faults.calls import Call
from tests.faults.dropped_files import FileVersion
from tests.faults.ledger_items import LedgerItems
from tests.faults.oracle import World
from tests.faults.processes import Stalled, kill, kill_all, stall
from tests.faults.proxy import FaultProxy, Hold, Moment
from tests.faults.recovery import LIMIT_SECONDS, Recovery, Watch
from tests.faults.settings import HASTY, Settings
from tests.faults.steps import CLAIM_VERSION
from tests.support.servers import free_port
from tests.support.system import Reading, System
from tests.support.waiting import eventually

IN_VAIN_SECONDS: Final = 100.0
"""After which runs that are due, and of which none begins, wait in vain.

Longer than the lease of an email: one whose run died is made when that has expired.
"""

UP_SECONDS: Final = 120
WITHIN_SECONDS: Final = 240
POLL_SECONDS: Final = 1.0

log = logging.getLogger(__name__)

_FLOW_RUN: Final = ("prefect.flow_engine", "prefect.engine", "flow-run")
_BEGINS_SOON: Final = timedelta(seconds=20)


@dataclass
class FirstCaller:
    """Matches the calls of the process that makes the first of them: a newer version of the file has another run."""

    matches: Callable[[Call], bool]
    process_at: Callable[[int], psutil.Process | None]
    let_pass: int = 0
    """Calls that pass before, so that the load stands in the middle of a step."""
    process: psutil.Process | None = None

    def __call__(self, call: Call) -> bool:
        if not self.matches(call):
            return False
        if self.let_pass:
            self.let_pass -= 1  # without a look at who it is: that takes so long that leases would be lost meanwhile
            return False
        caller = self.process_at(call.client_port)
        self.process = self.process or caller
        return caller is not None and caller == self.process


@dataclass(frozen=True)
class Caught:
    """A load that stands at a step, and the process that it stands in."""

    hold: Hold
    caller: FirstCaller

    @property
    def process(self) -> psutil.Process:
        assert self.caller.process
        return self.caller.process


class FaultySystem(System):
    """The stack that runs, the proxy in front of its AWS, and what is left to wait for."""

    def __init__(self, stack: EmbeddedStack, proxy: FaultProxy, recoveries: list[Recovery]) -> None:
        super().__init__(stack.description)
        self.embedded = stack
        self.proxy = proxy
        self.recoveries = recoveries
        """What was measured so far."""
        self.settings = HASTY
        self._extra: Supervisor | None = None

    @property
    def stack(self) -> StackDescription:
        return self.embedded.description

    # ---- Breaking ----------------------------------------------------------------------------------------------------

    @contextmanager
    def catching(self, matches: Callable[[Call], bool], moment: Moment, let_pass: int = 0) -> Iterator[Caught]:
        """The first load that comes to the step stands there; a second one, of a newer version, passes."""
        caller = FirstCaller(matches, self._process_at, let_pass)
        with self.proxy.holding(caller, moment) as hold:
            yield Caught(hold, caller)

    def kill_caller(self, hold: Hold) -> None:
        """`kill -9` of the process whose call is held, known by its end of the connection; what it said is lost."""
        assert hold.call
        hold.caller_is_dead = True
        process = self._process_at(hold.call.client_port)
        if process:
            kill(process)

    def kill_runs(self, caught: Sequence[Caught]) -> None:
        """`kill -9` of the runs that stand there, with the processes that they started; what they said is lost."""
        for each in caught:
            each.hold.caller_is_dead = True
        kill_all(self._runs_of(caught))

    def stall_runs(self, caught: Sequence[Caught]) -> Stalled:
        """The runs that stand there stand still; their calls are still held."""
        return stall(self._runs_of(caught))

    def go_on(self, stalled: Stalled, caught: Sequence[Caught]) -> None:
        """Let the processes go on after the calls that were on their way are answered.

        Otherwise a client that has waited for longer than its patience would make the call once more.
        """
        holds = [each.hold for each in caught]
        try:
            eventually(lambda: all(map(self.proxy.has_answered, holds)), WITHIN_SECONDS, "late calls to be answered")
        finally:
            stalled.go_on()

    def _runs_of(self, caught: Sequence[Caught]) -> list[psutil.Process]:
        """The processes of the runs: a shard is written by a process that the run has started."""
        runs = {run.pid: run for run in self.run_processes()}
        found: dict[int, psutil.Process] = {}
        for each in caught:
            with suppress(psutil.NoSuchProcess):
                above = [parent for parent in each.process.parents() if parent.pid in runs]
                root = (above or [each.process])[-1]
                found[root.pid] = root
        return list(found.values())

    def _process_at(self, port: int) -> psutil.Process | None:
        """Who calls the proxy from that port; none any more, where another call of the process led to it before.

        Linux gives the same port to connections with different targets, such as those of the proxy itself.
        """
        ends = (port, self.proxy.port)
        for connection in psutil.net_connections("tcp4"):
            found = connection.laddr and connection.raddr and (connection.laddr[1], connection.raddr[1])
            if found == ends and connection.pid:
                with suppress(psutil.NoSuchProcess):
                    return psutil.Process(connection.pid)
        return None

    def kill_part(self, part: str) -> None:
        """`kill -9` of a part; PostgreSQL's other processes end by themselves when their postmaster is gone."""
        kill(psutil.Process(self.stack.parts[part].pid))

    def stall_part(self, part: str) -> Stalled:
        """A part stands still, with all that it has started: runs, for the worker."""
        runs = self.run_processes() if part == "worker" else []  # some are children of the warm process
        return stall([psutil.Process(self.stack.parts[part].pid), *runs])

    @contextmanager
    def arriving_together(self) -> Iterator[None]:
        """What is dropped meanwhile is announced in one event, for the relay stands still."""
        relay = psutil.Process(self.stack.parts["relay"].pid)
        relay.suspend()
        try:
            yield
        finally:
            relay.resume()

    # ---- More of each ------------------------------------------------------------------------------------------------

    @contextmanager
    def more(self, *, relays: int = 0, workers: int = 0) -> Iterator[None]:
        """So many more relays and workers, as other machines would run them; they are restarted like the others."""
        environment = child_environment(self.stack)
        supervisor = Supervisor(log.info, lambda _: None)
        try:
            for number in range(relays):
                supervisor.run(self._relay_part(f"relay-{number + 2}", environment))
            for number in range(workers):
                supervisor.run(self._worker_part(f"worker-{number + 2}", environment))
            yield
        finally:
            supervisor.stop(threading.Event(), lambda: None)

    def _relay_part(self, name: str, environment: dict[str, str]) -> Part:
        return Part(
            name=name,
            title=name,
            command=relay_command(self.proxy),
            environment=environment,
            working_dir=self.data_dir,
            log_file=self.stack.log_file(name),
            stop_within_seconds=30,
        )

    def _worker_part(self, name: str, environment: dict[str, str]) -> Part:
        part = worker_part(self.stack, environment)
        command = [*part.command[: part.command.index("--name")], "--name", name, "--install-policy", "never"]
        log_file = self.stack.log_file(name)
        return replace(part, name=name, title=name, command=command, log_file=log_file, ready=lambda _: True)

    # ---- Mending -----------------------------------------------------------------------------------------------------

    @contextmanager
    def using(self, settings: Settings) -> Iterator[None]:
        """The runs that begin inside obey these settings, those after it the ones that were in force before."""
        before = self.settings
        self._apply(settings)
        try:
            yield
        finally:
            self._apply(before)

    def _apply(self, settings: Settings) -> None:
        with self.as_client():
            settings_of_the_system.apply(settings, self.environment["PREFECT_API_URL"])
        self.settings = settings

    def wait_until_up(self) -> None:
        """Every part runs, and does its work again."""
        eventually(self._is_up, UP_SECONDS, "everything to be up again")

    def wait_until_quiet(self, within_seconds: float = WITHIN_SECONDS) -> None:
        """No flow run has a process, or is about to have one; nothing is leased, and nothing is due.

        Runs that wait in vain, for a slot that a dead run keeps, are for the sweep to free.
        """
        quiet_since = time.monotonic()

        def is_quiet() -> bool:
            nonlocal quiet_since
            if self.run_processes():
                quiet_since = time.monotonic()
            return (self._is_quiet() and self._is_quiet()) or time.monotonic() - quiet_since > IN_VAIN_SECONDS

        try:
            eventually(is_quiet, within_seconds, "quiet")
        except TimeoutError as late:
            raise TimeoutError(f"{late}; {self.evidence()}") from late

    def recover(self, files: Sequence[FileVersion], group: str, limit_seconds: float = LIMIT_SECONDS) -> Recovery:
        """How long it took until these files were loaded and emailed, once everything was up again; without a sweep.

        Args:
            files: the newest version of each file.
            group: what the report names it.
            limit_seconds: how long to wait for the files to be loaded, and then for their emails.
        """
        self.wait_until_up()
        watch = Watch(files, self.settings.notify_after_seconds)
        give_up_at = watch.up_at + 2 * limit_seconds + self.settings.notify_after_seconds
        while not watch.see(self.ledger().entries, self.object_keys(), now := time.monotonic()) and now < give_up_at:
            time.sleep(POLL_SECONDS)  # the pace of the measurement
        recovery = watch.result(group)
        self.recoveries.append(recovery)
        log.info("recovered: %s", recovery)
        self.wait_until_quiet()
        return recovery

    def sweep_once(self) -> SweepReport:
        """One sweep, of the kind that takes up everything, however fresh it is."""
        with self.as_client():
            report = sweep(older_than_seconds=0, silent_after_seconds=0)
        assert isinstance(report, SweepReport)
        return report

    @contextmanager
    def as_client(self) -> Iterator[None]:
        """Inside, this process talks to the stack's Prefect server."""
        settings = {PREFECT_API_URL: self.environment["PREFECT_API_URL"], PREFECT_CLIENT_RETRY_EXTRA_CODES: "500"}
        with temporary_settings(settings):
            yield

    def wait_until_announced(self, file: FileVersion) -> None:
        """There is a run for the file, so what is dropped now gets another one."""
        states = ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED")
        self._eventually(lambda: bool(self._runs_for(file, *states)), f"a run for {file.label}")

    def wait_until_noted(self, files: Sequence[FileVersion]) -> None:
        """Each of these versions has an entry, or a run that was to load it has ended."""

        def all_noted() -> bool:
            known = {(entry.name, entry.etag) for entry in self.ledger().entries}
            missing = [file for file in files if (file.name, file.etag) not in known]
            return all(self._runs_for(file, "COMPLETED", "FAILED", "CRASHED") for file in missing)

        self._eventually(all_noted, f"a note of {[file.label for file in files]}")

    def wait_until_finished(self, files: Sequence[FileVersion]) -> None:
        """Each of these versions is settled, its object is not in `incoming/` any more, and its email was sent."""
        watch = Watch(files, 0)
        self._eventually(lambda: watch.see(self.ledger().entries, self.object_keys(), 0), "versions to be finished")

    def let_reloads_be_due(self) -> None:
        """Have written again now what the product would write again ten minutes later, and wait until that is done.

        A load whose request is held for longer than its client waits goes on without it. In the ten minutes its rows
        may arrive; here they have.
        """
        client, over = self.client("dynamodb"), utc_text(datetime.now(UTC) - timedelta(seconds=2))
        for file in self.ledger().reloads():
            with suppress(client.exceptions.ConditionalCheckFailedException):  # a run has claimed it
                client.update_item(
                    TableName=self.outputs.files_table_name,
                    Key={"file": {"S": file}, "version": {"S": CLAIM_VERSION}},
                    UpdateExpression="SET reload_at = :over, late_until = :over, next_try_at = :over ADD revision :one",
                    ConditionExpression="attribute_exists(reload_at) AND attribute_not_exists(claim_id)",
                    ExpressionAttributeValues={":over": {"S": over}, ":one": {"N": "1"}},
                )
        self._eventually(lambda: not self.ledger().reloads(), "versions to be written again")
        self.wait_until_quiet()

    def wait_for_longer_than_a_lease(self) -> None:
        """How long a part stands still that is stalled."""
        time.sleep(self.settings.lease_seconds * 2)

    def _eventually(self, check: Callable[[], bool], what: str) -> None:
        try:
            eventually(check, WITHIN_SECONDS, what)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; {self.evidence()}") from late

    # ---- Looking -----------------------------------------------------------------------------------------------------

    def look(self) -> World:
        """All that the oracle judges."""
        return World(self.all_readings(), self.object_keys(), self.content, self.ledger().entries, self.mails())

    def ledger(self) -> LedgerItems:
        pages = self.client("dynamodb").get_paginator("scan")
        found = pages.paginate(TableName=self.outputs.files_table_name, ConsistentRead=True)
        return LedgerItems.of(item for page in found for item in page["Items"])

    def run_processes(self) -> list[psutil.Process]:
        """The processes of flow runs, those whose worker is gone included."""
        found = other_processes(self.data_dir, self.stack.parts.values())
        return [process for process in found if _says(process, _FLOW_RUN)]

    def launchers(self) -> list[psutil.Process]:
        """The processes that stand for forked flow runs."""
        found = other_processes(self.data_dir, self.stack.parts.values())
        return [process for process in found if _says(process, ("warm_starts/launcher.py",))]

    def all_readings(self) -> dict[str, set[Reading]]:
        """All items, by the first five characters of their sensor."""
        pages = self.client("dynamodb").get_paginator("scan")
        found: dict[str, set[Reading]] = defaultdict(set)
        for page in pages.paginate(TableName=self.outputs.readings_table_name, ConsistentRead=True):
            for item in page["Items"]:
                sensor = item["sensor_id"]["S"]
                found[sensor[:5]].add((sensor, int(item["timestamp"]["N"]), Decimal(item["value"]["N"])))
        return found

    def content(self, key: str) -> bytes:
        body: bytes = self.client("s3").get_object(Bucket=self.outputs.bucket_name, Key=key)["Body"].read()
        return body

    def mails(self) -> list[str]:
        """The emails that SES took, as people read them: subject and text."""
        return [f"{mail.subject}\n{mail.text}" for mail in mails(self.stack.aws_endpoint_url, self.stack.access_key)]

    def evidence(self) -> str:
        """What a case that fails should show."""
        runs = self._runs({})[:12]
        shown = [f"{run['name']}: {run['state_name']} ({(run['state'] or {}).get('message')})" for run in runs]
        return f"latest runs {shown}; unfinished {self.ledger().unfinished()}"

    def _is_up(self) -> bool:
        stack = self.stack
        if not all(find_process(part) for part in stack.parts.values()):
            return False
        with suppress(httpx.HTTPError):
            workers = self.api("work_pools/sensor-ingest/workers/filter", {})
            beats = [datetime.fromisoformat(each["last_heartbeat_time"]).timestamp() for each in workers]
            return max(beats, default=0) >= stack.parts["worker"].created - 1
        return False

    def _is_quiet(self) -> bool:
        """Looks in the order in which work moves on: what is due is announced, scheduled, and begun by a process."""
        items, now = self.ledger(), datetime.now(UTC)
        is_due = items.held(now) or items.due(now, _BEGINS_SOON) or items.announced()
        return not is_due and not self._is_about_to_run() and not self.run_processes()

    def _is_about_to_run(self) -> bool:
        """Whether runs are due, or were handed to a worker so recently that their process may be on its way."""
        now = datetime.now(UTC)
        for run in self._runs({"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}):
            since = datetime.fromisoformat(run["state"]["timestamp"])
            due = datetime.fromisoformat(run["expected_start_time"] or run["state"]["timestamp"])
            if run["state_type"] == "SCHEDULED" and due < now + _BEGINS_SOON:
                return True
            if run["state_type"] == "PENDING" and now - since < _BEGINS_SOON:
                return True
        return False

    def _runs_for(self, file: FileVersion, *states: str) -> list[dict[str, Any]]:
        """The latest runs in such a state that are to load this version."""
        runs = self._runs({"state": {"type": {"any_": states}}})
        return [
            run
            for run in runs
            if any(
                each.get("key") == file.key and each.get("etag") in (None, file.etag)
                for each in run["parameters"].get("objects", [])
            )
        ]

    def _runs(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.api(
            "flow_runs/filter", {"flow_runs": asked, "sort": "START_TIME_DESC", "limit": 50}
        )
        return runs


@contextmanager
def faulty_system(say: Callable[[str], None], recoveries: list[Recovery]) -> Iterator[FaultySystem]:
    """A hasty stack on a directory of its own. Its relay and its blocks reach AWS through the proxy alone.

    The directory stays if the stack cannot start or stop: its logs say why.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="sensor-ingest-faults-"))
    aws_port = free_port()
    proxy = FaultProxy(aws_port)
    through_proxy = {"AWS_ENDPOINT_URL": proxy.url}
    try:
        with EmbeddedStack(
            data_dir,
            aws_port=aws_port,
            notify_after_seconds=HASTY.notify_after_seconds,
            deploy=lambda environment: prefect_deploy_all({**environment, **through_proxy}),
            relay_command=relay_command(proxy),
            log=say,
        ) as stack:
            system = FaultySystem(stack, proxy, recoveries)
            with system.using(HASTY):
                yield system
    finally:
        proxy.close()
    shutil.rmtree(data_dir, ignore_errors=True)


_RELAY: Final = "import os,sys; os.environ['AWS_ENDPOINT_URL']=sys.argv[1]; os.execv(sys.argv[2], sys.argv[2:])"
"""Becomes the relay, in the same process, with another way to AWS."""


def relay_command(proxy: FaultProxy) -> tuple[str, ...]:
    return (sys.executable, "-c", _RELAY, proxy.url, *RELAY_COMMAND)


def _says(process: psutil.Process, words: tuple[str, ...]) -> bool:
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE and any(word in " ".join(process.cmdline()) for word in words)
    return False
