"""Looking at an embedded stack from outside: its runs, tables, mails and processes."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import psutil
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.domain.names import WORK_POOL
from blocks.file_ledger import FileLedger
from deployments.embedded import EmbeddedStack
from deployments.embedded.services.mailbox import mails
from deployments.settings import POOL_LIMIT

if TYPE_CHECKING:
    from blocks.stack_outputs import StackOutputs

ROWS = 20
FIRST_SECOND = 1_483_906_366


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Watch:
    """A stack that runs. Files of one burst share the first half of their sensors' ids."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.stack = stack
        environment = stack.description.environment
        session = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
        endpoint = environment["AWS_ENDPOINT_URL"]
        self.endpoint = endpoint
        self.s3 = session.client("s3", endpoint_url=endpoint)
        self.dynamodb = session.client("dynamodb", endpoint_url=endpoint)
        self.sqs = session.client("sqs", endpoint_url=endpoint)
        self.outputs: StackOutputs = stack.outputs
        self.http = httpx.Client(base_url=environment["PREFECT_API_URL"], timeout=60)

    def file_ledger(self) -> FileLedger:
        """The ledger's block, as the flows have it."""
        environment = self.stack.description.environment
        credentials = AwsCredentials(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=SecretStr(environment["AWS_SECRET_ACCESS_KEY"]),
            region_name=environment["AWS_REGION"],
            aws_client_parameters=AwsClientParameters(endpoint_url=self.endpoint),
        )
        return FileLedger(table_name=self.outputs.files_table_name, credentials=credentials)

    # What is put in

    def put(self, name: str, sensor: str) -> None:
        body = "".join(f"{sensor},{FIRST_SECOND + row},{row}.5\n" for row in range(ROWS))
        self.s3.put_object(Bucket=self.outputs.bucket_name, Key=f"incoming/{name}", Body=body.encode())

    def put_many(self, files: int, group: int) -> float:
        """Seconds that it took to put so many files, eight at a time."""
        begun = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: self.put(f"{group:04d}/{n:05d}.csv", f"{group:04d}-{n:04d}"), range(files)))
        return time.monotonic() - begun

    # What comes out

    def ledger(self, prefix: str) -> list[dict[str, Any]]:
        """The entries of the files below that prefix."""
        begin = f"{self.outputs.bucket_name}/incoming/{prefix}"
        entries = (item for item in self._items() if not item["version"]["S"].startswith("#"))
        return [entry for entry in entries if entry["file"]["S"].startswith(begin)]

    def emailed(self) -> int:
        """How many files are in emails that were sent."""
        emails = (item for item in self._items() if item["version"]["S"] == "#email")
        return sum(len(email["files"]["L"]) for email in emails if email["state"]["S"] == "sent")

    def emails_sent(self) -> list[tuple[float, float]]:
        """When each email that was sent was due, and when it was sent."""
        emails = [item for item in self._items() if item["version"]["S"] == "#email" and "sent_at" in item]
        return [(seconds(email["due_at"]["S"]), seconds(email["sent_at"]["S"])) for email in emails]

    def _items(self) -> Iterator[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.outputs.files_table_name)
        return (item for page in pages for item in page["Items"])

    def rows(self, sensor: str) -> int:
        answer = self.dynamodb.query(
            TableName=self.outputs.readings_table_name,
            KeyConditionExpression="sensor_id = :sensor",
            ExpressionAttributeValues={":sensor": {"S": sensor}},
            Select="COUNT",
        )
        count: int = answer["Count"]
        return count

    def all_rows(self) -> int:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.outputs.readings_table_name, Select="COUNT")
        return sum(page["Count"] for page in pages)

    def left_in_incoming(self) -> int:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.outputs.bucket_name, Prefix="incoming/")
        return sum(len(page.get("Contents", [])) for page in pages)

    def mails(self) -> int:
        return len(mails(self.endpoint, self.stack.description.access_key))

    # Prefect

    def api(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        answer = self.http.post(path, json=body) if body is not None else self.http.get(path)
        return answer.raise_for_status().json()

    def runs(self, flow: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while page := self.api(
            "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "offset": offset, "limit": 50, "sort": "ID_DESC"}
        ):
            yield from page
            offset += len(page)

    def count(self, flow: str, *types: str) -> int:
        asked: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}}
        if types:
            asked["flow_runs"] = {"state": {"type": {"any_": list(types)}}}
        answer: int = self.api("/flow_runs/count", asked)
        return answer

    def states(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        found = self.api(f"/flow_run_states/?flow_run_id={run['id']}")
        return sorted(found, key=lambda state: state["timestamp"])

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api(f"/deployments/name/{name}")
        return found

    def start_runs_with(self, command: str | None) -> None:
        """Have files loaded by runs that this command starts; by that of the pool, if it is None."""
        found = self.deployment("ingest-sensor-files/ingest-sensor-files")
        others = {name: value for name, value in found["job_variables"].items() if name != "command"}
        variables = others | ({"command": command} if command else {})
        self.http.patch(f"/deployments/{found['id']}", json={"job_variables": variables}).raise_for_status()

    def set_limit(self, queue: str, limit: int) -> None:
        """Have so many runs of that queue at once; the pool has room for them, for as many others and for a sweep."""
        pool = f"/work_pools/{WORK_POOL}"
        self.http.patch(pool, json={"concurrency_limit": 2 * limit + POOL_LIMIT}).raise_for_status()
        self.http.patch(f"{pool}/queues/{queue}", json={"concurrency_limit": limit}).raise_for_status()

    # Processes

    def relay_rss(self) -> float:
        """MiB; not a number while there is no relay."""
        try:
            return psutil.Process(self.stack.description.parts["relay"].pid).memory_info().rss / 2**20
        except psutil.Error:
            return float("nan")

    def run_processes(self) -> list[psutil.Process]:
        """What the worker and the warm process have started: with warm starts, a run has a launcher, too."""
        parts = self.stack.description.parts
        starting = [parts[name].pid for name in ("worker", "warm") if name in parts]
        return [process for pid in starting for process in psutil.Process(pid).children(recursive=True)]

    def cpu_of_runs(self) -> float:
        """Seconds of CPU of the worker, the warm process, and the runs of both that have ended."""
        parts = self.stack.description.parts
        starting = [psutil.Process(parts[name].pid).cpu_times() for name in ("worker", "warm") if name in parts]
        return sum(each.user + each.system + each.children_user + each.children_system for each in starting)

    def processes(self) -> Counter[str]:
        """Processes of the stack by part, what the parts have started counted with them."""
        found: Counter[str] = Counter()
        for name, part in self.stack.description.parts.items():
            found[name] += 1 + len(psutil.Process(part.pid).children(recursive=True))
        return found


def wait_for(done: Callable[[], bool], patience: float, every: float = 0.5) -> bool:
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


@contextmanager
def memory_curve(watch: Watch, every: float) -> Iterator[list[tuple[float, float, list[float]]]]:
    """Seconds, MiB of the relay, MiB of each run's process; filled while the block lasts."""
    curve: list[tuple[float, float, list[float]]] = []
    ended = threading.Event()
    begun = time.monotonic()

    def look() -> None:
        while not ended.wait(every):
            runs = []
            for process in watch.run_processes():
                try:
                    runs.append(process.memory_info().rss / 2**20)
                except psutil.Error:
                    continue
            curve.append((time.monotonic() - begun, watch.relay_rss(), sorted(runs, reverse=True)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield curve
    finally:
        ended.set()
        thread.join()


def new_sensor() -> str:
    digits = f"{uuid.uuid4().int % 10**8:08d}"
    return f"{digits[:4]}-{digits[4:]}"
