"""Looking at a running system from outside: the table, the bucket, the mail and the Prefect API themselves."""

import json
import os
import ssl
import sys
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil

from blocks.stack_outputs import StackOutputs
from deployments.embedded import StackDescription, running_stack
from deployments.embedded.services.mailbox import Mail, mails
from tests.support.waiting import run_for_at_most

Reading = tuple[str, int, Decimal]

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Left to itself, httpx reads all certificates of this machine for each request, although none goes over TLS."""


class System:
    """A stack that runs, and what can be asked of it."""

    def __init__(self, stack: StackDescription) -> None:
        self.data_dir = stack.data_dir
        self.environment = stack.environment

    @property
    def stack(self) -> StackDescription:
        """The stack as it is described now: parts that died have other processes."""
        found = running_stack(self.data_dir)
        assert found is not None
        return found

    def run(self, *command: str, **environment: str | None) -> str:
        """What the command prints; it may not fail. Variables that are None are not set for it."""
        variables = {**os.environ, **self.environment, **environment}
        kept = {name: value for name, value in variables.items() if value is not None}
        done = run_for_at_most(300, [sys.executable, *command], kept)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # AWS

    def client(self, service: Any) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
        session = boto3.Session(
            self.environment["AWS_ACCESS_KEY_ID"],
            self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_REGION"],
        )
        return session.client(service, endpoint_url=self.stack.aws_endpoint_url)

    @cached_property
    def outputs(self) -> StackOutputs:
        return StackOutputs.read("sensor-ingest", self.client("cloudformation"))

    def put(self, content: str | bytes, key: str) -> str:
        """The address of the new object. An event is sent for it only if the key starts with `incoming/`."""
        body = content.encode() if isinstance(content, str) else content
        self.client("s3").put_object(Bucket=self.outputs.bucket_name, Key=key, Body=body)
        return self.uri(key)

    def uri(self, key: str) -> str:
        return f"s3://{self.outputs.bucket_name}/{key}"

    def object_keys(self) -> set[str]:
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.outputs.bucket_name)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def readings(self, sensor_prefix: str) -> set[Reading]:
        """The items of the sensors whose id begins so; tests keep apart by their sensors."""
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.outputs.readings_table_name, ConsistentRead=True)
        )
        items = [item for page in pages for item in page["Items"] if item["sensor_id"]["S"].startswith(sensor_prefix)]
        return {(item["sensor_id"]["S"], int(item["timestamp"]["N"]), Decimal(item["value"]["N"])) for item in items}

    def mails_about(self, name: str) -> list[Mail]:
        return [
            mail
            for mail in mails(self.stack.aws_endpoint_url, self.stack.access_key)
            if name in mail.subject + mail.text
        ]

    # Prefect

    def api(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - the JSON that the server answers with
        url = f"{self.environment['PREFECT_API_URL']}/{path}"
        method = "GET" if body is None else "POST"
        answer = httpx.request(method, url, json=body, timeout=60, verify=NO_CERTIFICATES)
        return answer.raise_for_status().json()

    def patch(self, path: str, body: object) -> None:
        """Change something, as the UI does."""
        url = f"{self.environment['PREFECT_API_URL']}/{path}"
        httpx.patch(url, json=body, timeout=60, verify=NO_CERTIFICATES).raise_for_status()

    def run_named(self, name: str) -> dict[str, Any] | None:
        runs: list[dict[str, Any]] = self.api("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        assert len(runs) <= 1, f"{len(runs)} runs are named {name}"
        return runs[0] if runs else None

    def run_in_state(self, name: str, *states: str) -> dict[str, Any] | None:
        run = self.run_named(name)
        return run if run and run["state_name"] in states else None

    def states_of(self, run: dict[str, Any]) -> list[str]:
        states = self.api(f"flow_run_states/?flow_run_id={run['id']}")
        return [state["name"] for state in sorted(states, key=lambda state: state["timestamp"])]

    def flow_run_processes(self) -> list[int]:
        """Processes that the worker and the warm process have started: each runs a flow, or stands for a run."""
        starting = [part.pid for name, part in self.stack.parts.items() if name in ("worker", "warm")]
        return [child.pid for pid in starting for child in psutil.Process(pid).children(recursive=True)]

    def kill(self, part: str) -> None:
        psutil.Process(self.stack.parts[part].pid).kill()


def write(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


def start_run(system: System, objects: list[str], *, notify_after_seconds: float) -> None:
    """As a person does, with `prefect deployment run`."""
    system.run(
        *("-m", "prefect", "deployment", "run", "ingest-sensor-files/ingest-sensor-files"),
        *("--param", f"objects={json.dumps(objects)}"),
        *("--param", f"notify_after_seconds={notify_after_seconds}"),
    )
