"""The demo: one file goes all the way through an embedded stack, and each step is printed with its address."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil

from blocks.domain.errors import SensorIngestError
from blocks.domain.names import INGEST_FLOW, NOTIFY_FLOW
from deployments.commands.put import upload
from deployments.embedded import EmbeddedStack, StackDescription
from deployments.embedded.services.mailbox import Mail, mails
from deployments.server.prefect_yaml import prefect_deploy_all
from flows.report.wording import row_totals

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from blocks.domain.models import LedgerEntry

SAMPLE: Final = """\
0000-0001,1483906366,10.10
0000-0011,1483906376,-5.10
0000-0093,1483906376,3.80
0000-0107,1483906520,115.45
0000-0001,1483906520,27.54
0000-2101,1483908322,340.00
0000-0001,1483908322,-12.93
0000-0001,1483906366,00.35
"""
"""The last line has the sensor and time of the first, and so replaces it."""

STEP_TIMEOUT_SECONDS: Final = 120

T = TypeVar("T")


class DemoError(SensorIngestError):
    """A step of the demo was not seen in time."""


def run_demo(data_dir: Path, notify_after_seconds: float, show: Callable[[str], None], *, keep: bool) -> None:
    """Return when the email has arrived, or with `keep` on Ctrl-C; then the stack is stopped.

    Args:
        data_dir: where the stack keeps its state.
        notify_after_seconds: wait between loading and email.
        show: called with one JSON document: the address of the file, its ledger entry, the email.
        keep: whether the stack runs on after the email.

    Raises:
        DemoError: a step was not seen in time; the message names the folder of the logs.
    """
    print(
        "Starting the AWS emulator, PostgreSQL, a Prefect server, a worker and the relay on this machine …", flush=True
    )
    with EmbeddedStack(data_dir, notify_after_seconds=notify_after_seconds, deploy=prefect_deploy_all) as stack:
        os.environ.update(stack.description.environment)
        show(json.dumps(Demo(stack.description, notify_after_seconds).run(), indent=2))
        if keep:
            print(f"\nThe stack runs until Ctrl-C. Prefect UI: {stack.description.prefect_url}", flush=True)
            stack.wait_forever()


@dataclass
class Demo:
    """The way of one file through a running stack."""

    stack: StackDescription
    notify_after_seconds: float

    def run(self) -> dict[str, Any]:
        """What happened, once the email has arrived."""
        self.started = datetime.now(UTC)
        mails_before = len(mails(self.stack.aws_endpoint_url, self.stack.access_key))

        uri = _upload_sample(f"sensors-{self.started:%Y-%m-%d-%H%M%S}.csv")
        _print_step("A file of 8 readings was uploaded to the bucket", uri)

        run = self._wait_for(lambda: self._run_of(INGEST_FLOW), "the run that the event of the file starts")
        _print_step("Its event started a run", f"{run.name}: {self._page(run)}")

        entry = self._wait_for(lambda: _settled_entry(uri), "the file to be loaded")
        _print_step("The run loaded and moved it", row_totals([entry]), f"now at {entry.archived_to}")

        email = self._wait_for(lambda: self._run_of(NOTIFY_FLOW), "the run that sends the email")
        self._wait_for(lambda: not self._flow_run_processes(), "the process of the run to end")
        _print_step(
            f"The email waits {self.notify_after_seconds:g} s as a paused subflow, without a process",
            f"{email.name}, {email.state_name}: {self._page(email)}",
            f"processes of flow runs: {len(self._flow_run_processes())}",
        )

        timeout = self.notify_after_seconds + STEP_TIMEOUT_SECONDS
        mail = self._wait_for(lambda: self._mail_after(mails_before), "the email", timeout)
        lines = [f"To: {', '.join(mail.to)}", f"Subject: {mail.subject}", "", *mail.text.splitlines()]
        _print_step("The email arrived", *lines)
        return {
            "file": uri,
            "ingest": self._page(run),
            "entry": entry.model_dump(mode="json"),
            "notify": self._page(email),
            "email": {"to": mail.to, "subject": mail.subject, "text": mail.text},
        }

    def _wait_for(self, check: Callable[[], T | None], what: str, timeout_seconds: float = STEP_TIMEOUT_SECONDS) -> T:
        deadline = time.monotonic() + timeout_seconds
        while not (found := check()):
            if time.monotonic() > deadline:
                logs = self.stack.data_dir / "logs"
                raise DemoError(f"waited {timeout_seconds:g} s for {what}; the logs of all parts are in {logs}")
            time.sleep(0.25)
        return found

    def _run_of(self, flow_name: str) -> "FlowRun | None":
        """The run of that flow that started after the demo, once it has its own name."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName

        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
        new = (run for run in runs if run.created and run.created > self.started)
        return next((run for run in new if run.state_name in {"Running", "Paused", "Completed"}), None)

    def _flow_run_processes(self) -> list[psutil.Process]:
        starting = [self.stack.parts[name].pid for name in ("worker", "warm") if name in self.stack.parts]
        return [process for pid in starting for process in psutil.Process(pid).children(recursive=True)]

    def _mail_after(self, count: int) -> Mail | None:
        return next(iter(mails(self.stack.aws_endpoint_url, self.stack.access_key)[count:]), None)

    def _page(self, run: "FlowRun") -> str:
        return f"{self.stack.prefect_url}/runs/flow-run/{run.id}"


def _upload_sample(name: str) -> str:
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(SAMPLE, encoding="ascii")
        [uri] = upload({name: file})
    return uri


def _settled_entry(uri: str) -> "LedgerEntry | None":
    from blocks.domain.s3_keys import parse_s3_uri
    from blocks.saved_blocks import load_blocks

    entries = load_blocks().file_ledger.entries_of(*parse_s3_uri(uri))
    return next((entry for entry in entries if entry.status in {"archived", "refused"}), None)


def _print_step(title: str, *lines: str) -> None:
    print(f"\n{title}", *(f"    {line}" for line in lines), sep="\n", flush=True)
