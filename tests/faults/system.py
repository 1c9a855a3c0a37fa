"""An embedded stack whose way to AWS leads through the fault proxy, and hands to break and to mend it with."""

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_RETRY_EXTRA_CODES, temporary_settings

from blocks.domain.models import SETTLED, LedgerEntry, SweepReport
from blocks.domain.names import FILES_QUEUE, WORK_POOL
from blocks.file_ledger import FileLedger
from blocks.readings_table import ReadingsTable
from deployments.embedded import EmbeddedStack, StackDescription
from deployments.embedded.processes import find_process, other_processes
from deployments.embedded.services.mailbox import mails
from deployments.embedded.startup import RELAY_COMMAND
from deployments.server.crash_automation import AUTOMATION, ensure_crash_automation
from deployments.server.prefect_yaml import prefect_deploy_all
from flows.sweep import sweep
from tests.faults.proxy import FaultProxy, Hold
from tests.support.servers import free_port
from tests.support.system import Reading, System
from tests.support.waiting import eventually

LEASE_SECONDS: Final = 5.0
"""Short, so that a case need not wait for the end of a lease for minutes."""

PATIENCE_SECONDS: Final = 15.0
"""After which a table that takes nothing fails a load, likewise short."""

RUNS_AT_ONCE: Final = 8
"""More than usual: files that a load died with are announced one by one."""

DEAD_AFTER: Final = timedelta(seconds=75)
"""Without a sign of life a run is dead then, and gives up its slot: two heartbeats and a half."""

IN_VAIN_SECONDS: Final = 60.0
"""After which runs that are due, and of which none begins, wait in vain."""

NOTIFY_AFTER_SECONDS: Final = 1.0
"""Below ten seconds the email is scheduled instead of paused: the pause has cases of its own."""

UP_SECONDS: Final = 120
WITHIN_SECONDS: Final = 240

log = logging.getLogger(__name__)

_FLOW_RUN: Final = ("prefect.flow_engine", "prefect.engine", "flow-run")
_BEGINS_SOON: Final = timedelta(seconds=20)


class FaultySystem(System):
    """The stack that runs, the proxy in front of its AWS, and what is left to wait for."""

    def __init__(self, stack: EmbeddedStack, proxy: FaultProxy) -> None:
        super().__init__(stack.description)
        self.embedded = stack
        self.proxy = proxy

    @property
    def stack(self) -> StackDescription:
        return self.embedded.description

    # ---- Breaking ----------------------------------------------------------------------------------------------------

    def kill_caller(self, hold: Hold) -> None:
        """`kill -9` of the process whose call is held, known by its end of the connection; what it said is lost."""
        assert hold.call
        hold.caller_is_dead = True
        process = self._process_at(hold.call.client_port)
        if process:
            kill(process)

    def _process_at(self, port: int) -> psutil.Process | None:
        """Who has that port; nobody any more, where another call of the same process led to it before."""
        for connection in psutil.net_connections("tcp4"):
            if connection.laddr and connection.laddr[1] == port and connection.pid:
                return psutil.Process(connection.pid)
        return None

    def kill_part(self, part: str) -> None:
        """`kill -9` of a part; PostgreSQL's other processes end by themselves when their postmaster is gone."""
        kill(psutil.Process(self.stack.parts[part].pid))

    @contextmanager
    def arriving_together(self) -> Iterator[None]:
        """What is dropped meanwhile is announced in one event, for the relay stands still."""
        relay = psutil.Process(self.stack.parts["relay"].pid)
        relay.suspend()
        try:
            yield
        finally:
            relay.resume()

    # ---- Mending -----------------------------------------------------------------------------------------------------

    def wait_until_up(self) -> None:
        """Every part runs, and does its work again."""
        eventually(self._is_up, UP_SECONDS, "everything to be up again")

    def wait_until_quiet(self, within_seconds: float = WITHIN_SECONDS) -> None:
        """No flow run has a process, or is about to have one, and no lease is running on a file that nobody settled.

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

    def sweep_once(self) -> SweepReport:
        """One sweep, of the kind that takes up everything, however fresh it is."""
        with self.as_client():
            report = sweep(older_than_seconds=0, stalled_after_seconds=0)
        assert isinstance(report, SweepReport)
        return report

    def recover(self, within_seconds: float = WITHIN_SECONDS) -> SweepReport:
        """Everything up again, one sweep, and what it started is over, each within that time."""
        begun = time.monotonic()
        self.wait_until_up()
        up = time.monotonic()
        self.wait_until_quiet(within_seconds)
        quiet = time.monotonic()
        report = self.sweep_once()
        swept = time.monotonic()
        self.wait_until_quiet(within_seconds)
        ended = time.monotonic()
        spent = f"up {up - begun:.0f} s, quiet {quiet - up:.0f} s, {swept - quiet:.0f} s, {ended - swept:.0f} s after"
        log.info("recovered in: %s; sweep: %s", spent, report)
        return report

    @contextmanager
    def as_client(self) -> Iterator[None]:
        """Inside, this process talks to the stack's Prefect server."""
        settings = {PREFECT_API_URL: self.environment["PREFECT_API_URL"], PREFECT_CLIENT_RETRY_EXTRA_CODES: "500"}
        with temporary_settings(settings):
            yield

    def wait_until_announced(self, key: str) -> None:
        """There is a run for the file, so what is dropped now gets another one."""

        def announced() -> bool:
            runs = self._runs({"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}})
            return any(each.get("key") == key for run in runs for each in run["parameters"].get("objects", []))

        eventually(announced, WITHIN_SECONDS, f"a run for {key}")

    # ---- Looking -----------------------------------------------------------------------------------------------------

    def run_processes(self) -> list[psutil.Process]:
        """The processes of flow runs, those whose worker is gone included."""
        found = other_processes(self.data_dir, self.stack.parts.values())
        return [process for process in found if _says(process, _FLOW_RUN)]

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

    def entries_of(self, key: str) -> list[LedgerEntry]:
        return self._ledger().entries_of(self.outputs.bucket_name, key)

    def mails(self) -> list[str]:
        """The emails that SES took, as people read them: subject and text."""
        return [f"{mail.subject}\n{mail.text}" for mail in mails(self.stack.aws_endpoint_url)]

    def evidence(self) -> str:
        """What a case that fails should show."""
        runs = self._runs({})[:12]
        shown = [f"{run['name']}: {run['state_name']} ({(run['state'] or {}).get('message')})" for run in runs]
        entries = [f"{each.key} {each.status} by {each.flow_run_id}" for each in self._ledger().unfinished()]
        return f"latest runs {shown}; unfinished {entries}"

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
        if self.run_processes() or self._is_about_to_run():
            return False
        now = datetime.now(UTC)
        entries = self._ledger().unfinished()
        return not any(e.status not in SETTLED and e.lease_until and e.lease_until > now for e in entries)

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

    def _runs(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.api(
            "flow_runs/filter", {"flow_runs": asked, "sort": "START_TIME_DESC", "limit": 50}
        )
        return runs

    def _ledger(self) -> FileLedger:
        """The ledger, past the proxy."""
        from prefect_aws.client_parameters import AwsClientParameters  # noqa: PLC0415
        from prefect_aws.credentials import AwsCredentials  # noqa: PLC0415
        from pydantic import SecretStr  # noqa: PLC0415

        credentials = AwsCredentials(
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key=SecretStr("test"),
            aws_client_parameters=AwsClientParameters(endpoint_url=self.stack.aws_endpoint_url),
        )
        return FileLedger(table_name=self.outputs.files_table_name, credentials=credentials)


@contextmanager
def faulty_system(data_dir: Path, say: Callable[[str], None]) -> Iterator[FaultySystem]:
    """A stack on that directory. Its relay and its blocks reach AWS through the proxy alone."""
    aws_port = free_port()
    proxy = FaultProxy(aws_port)
    through_proxy = {"AWS_ENDPOINT_URL": proxy.url}
    try:
        with EmbeddedStack(
            data_dir,
            aws_port=aws_port,
            notify_after_seconds=NOTIFY_AFTER_SECONDS,
            deploy=lambda environment: prefect_deploy_all({**environment, **through_proxy}),
            relay_command=(sys.executable, "-c", _RELAY, proxy.url, *RELAY_COMMAND),
            log=say,
        ) as stack:
            system = FaultySystem(stack, proxy)
            _make_hasty(system)
            yield system
    finally:
        proxy.close()


_RELAY: Final = "import os,sys; os.environ['AWS_ENDPOINT_URL']=sys.argv[1]; os.execv(sys.argv[2], sys.argv[2:])"
"""Becomes the relay, in the same process, with another way to AWS."""


def _make_hasty(system: FaultySystem) -> None:
    """Short leases and pulses, as people may set them, and no sweep but those that cases ask for."""
    with system.as_client():
        for block_type, fields in (
            (FileLedger, {"lease_seconds": LEASE_SECONDS}),
            (ReadingsTable, {"patience_seconds": PATIENCE_SECONDS}),
        ):
            block: Any = block_type.load("sensor-ingest")
            block.model_copy(update=fields).save("sensor-ingest", overwrite=True)
        with get_client(sync_client=True) as client:
            for automation in client.read_automations_by_name(AUTOMATION):
                client.delete_automation(automation.id)
            ensure_crash_automation(client, DEAD_AFTER)
    for deployment in system.api("deployments/filter", {}):
        if deployment["name"] == "sweep":
            url = f"{system.environment['PREFECT_API_URL']}/deployments/{deployment['id']}"
            httpx.patch(url, json={"paused": True}).raise_for_status()
    queue = f"{system.environment['PREFECT_API_URL']}/work_pools/{WORK_POOL}/queues/{FILES_QUEUE}"
    httpx.patch(queue, json={"concurrency_limit": RUNS_AT_ONCE}).raise_for_status()


def kill(process: psutil.Process) -> None:
    """`kill -9`, and it is gone when this returns, or waits for its parent to notice."""
    process.kill()
    eventually(
        lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10, "a killed process to end"
    )


def _says(process: psutil.Process, words: tuple[str, ...]) -> bool:
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE and any(word in " ".join(process.cmdline()) for word in words)
    return False
