"""The demo: one file goes all the way on an embedded stack, and each step is shown where it can be looked at."""

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
"""Readings whose last line has the sensor and time of the first, and so replaces it."""

PATIENCE_SECONDS: Final = 120

T = TypeVar("T")


class DemoError(SensorIngestError):
    """A step of the demo did not happen in time."""


def run_demo(data_dir: Path, notify_after_seconds: float, show: Callable[[str], None], *, keep: bool) -> None:
    """Returns when the email has arrived, with `keep` only on Ctrl-C; nothing is left running then.

    Args:
        data_dir: where the stack keeps its state.
        notify_after_seconds: wait between loading and email.
        show: gets what happened as one JSON document: the file's address, its entry in the ledger, the email.
        keep: whether the stack goes on running.

    Raises:
        DemoError: a step did not happen in time; the text names the logs to look at.
    """
    print("Starting AWS (emulated), PostgreSQL, a Prefect server, a worker and the relay on this machine …", flush=True)
    with EmbeddedStack(data_dir, notify_after_seconds=notify_after_seconds, deploy=prefect_deploy_all) as stack:
        os.environ.update(stack.description.environment)
        show(json.dumps(Demo(stack.description, notify_after_seconds).run(), indent=2))
        if keep:
            print(
                f"\nAll of it keeps running, with its UI on {stack.description.prefect_url} . Ctrl-C ends it.",
                flush=True,
            )
            stack.wait_forever()


@dataclass
class Demo:
    """One file's way through a stack that runs."""

    stack: StackDescription
    notify_after_seconds: float

    def run(self) -> dict[str, Any]:
        """What happened, when the email has arrived."""
        self.started = datetime.now(UTC)
        before = len(mails(self.stack.aws_endpoint_url))

        uri = _drop_sample(f"sensors-{self.started:%Y-%m-%d-%H%M%S}.csv")
        _tell("A file of 8 readings was dropped into the bucket", uri)

        run = self._soon(lambda: self._run_of(INGEST_FLOW), "a run that the file's event starts")
        _tell("Its event started a run", f"{run.name}: {self._page(run)}")

        entry = self._soon(lambda: _dealt_with(uri), "the file to be loaded")
        _tell(
            "The run loaded and moved it",
            row_totals([entry]),
            f"now at {entry.archived_to}",
        )

        email = self._soon(lambda: self._run_of(NOTIFY_FLOW), "the run that will email about it")
        self._soon(lambda: not self._flow_run_processes(), "the process of the run to end")
        _tell(
            f"The email waits {self.notify_after_seconds:g} s as a subflow, and nothing runs meanwhile",
            f"{email.name}, {email.state_name}: {self._page(email)}",
            f"processes of flow runs: {len(self._flow_run_processes())}",
        )

        mail = self._soon(lambda: self._mail_after(before), "the email", self.notify_after_seconds + PATIENCE_SECONDS)
        _tell("The email arrived", f"To: {', '.join(mail.to)}", f"Subject: {mail.subject}", "", *mail.text.splitlines())
        return {
            "file": uri,
            "ingest": self._page(run),
            "entry": entry.model_dump(mode="json"),
            "notify": self._page(email),
            "email": {"to": mail.to, "subject": mail.subject, "text": mail.text},
        }

    def _soon(self, check: Callable[[], T | None], what: str, patience_seconds: float = PATIENCE_SECONDS) -> T:
        deadline = time.monotonic() + patience_seconds
        while not (answer := check()):
            if time.monotonic() > deadline:
                logs = self.stack.data_dir / "logs"
                raise DemoError(f"waited {patience_seconds:g} s for {what}, in vain; {logs} has the logs of all parts")
            time.sleep(0.25)
        return answer

    def _run_of(self, flow_name: str) -> "FlowRun | None":
        """The run of that flow that has begun since the demo did, once it has its own name."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName

        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
        begun = (run for run in runs if run.created and run.created > self.started)
        return next((run for run in begun if run.state_name in {"Running", "Paused", "Completed"}), None)

    def _flow_run_processes(self) -> list[psutil.Process]:
        return psutil.Process(self.stack.parts["worker"].pid).children(recursive=True)

    def _mail_after(self, count: int) -> Mail | None:
        return next(iter(mails(self.stack.aws_endpoint_url)[count:]), None)

    def _page(self, run: "FlowRun") -> str:
        return f"{self.stack.prefect_url}/runs/flow-run/{run.id}"


def _drop_sample(name: str) -> str:
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(SAMPLE, encoding="ascii")
        [uri] = upload({name: file})
    return uri


def _dealt_with(uri: str) -> "LedgerEntry | None":
    from blocks.domain.s3_keys import parse_s3_uri
    from blocks.saved_blocks import load_blocks

    entries = load_blocks().file_ledger.entries_of(*parse_s3_uri(uri))
    return next((entry for entry in entries if entry.status in {"archived", "refused"}), None)


def _tell(title: str, *lines: str) -> None:
    print(f"\n{title}", *(f"    {line}" for line in lines), sep="\n", flush=True)
