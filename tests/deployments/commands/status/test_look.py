"""One look at a deployed system, and at systems of which a part does not answer."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from threading import Thread
from urllib.error import HTTPError

import pytest
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running
from typer.testing import CliRunner

from blocks.domain.names import EMAILS_QUEUE, INGEST_FLOW, WORK_POOL
from blocks.stack_outputs import StackOutputs
from deployments.cli import app
from deployments.commands.status import aws_parts, prefect_parts
from deployments.commands.status.aws_parts import AwsParts
from deployments.commands.status.ledger import LedgerReader
from deployments.commands.status.look import System
from deployments.commands.status.seen import Count, Queue, Relay, Runs, Status, Unanswered, Workers, troubles
from deployments.settings import QUEUE_LIMITS
from tests.support.deployed_system import DeployedSystem
from tests.support.servers import free_port

PREFECT_PARTS = {"workers", "starts", "runs"}
AWS_PARTS = {"queue", "incoming", "relay", "ledger"}


@pytest.fixture
def put(deployed_system: DeployedSystem, outputs: StackOutputs) -> Iterator[Callable[[str], None]]:
    s3, keys = deployed_system.aws.client("s3"), []

    def put(key: str) -> None:
        keys.append(key)
        s3.put_object(Bucket=outputs.bucket_name, Key=key, Body=b"x")

    yield put
    for key in keys:
        s3.delete_object(Bucket=outputs.bucket_name, Key=key)
    for url in (outputs.queue_url, outputs.dead_letter_queue_url):
        deployed_system.aws.client("sqs").purge_queue(QueueUrl=url)


def report_receives(deployed_system: DeployedSystem, outputs: StackOutputs) -> None:
    """As SQS does while a relay asks the queue."""
    deployed_system.aws.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "NumberOfEmptyReceives",
                "Dimensions": [{"Name": "QueueName", "Value": outputs.queue_url.rpartition("/")[2]}],
                "Timestamp": datetime.now(UTC),
                "Value": 3,
            }
        ],
    )


def remedies(seen: Status) -> str:
    return " ".join(f"{each.problem} {each.remedy}" for each in troubles(seen))


# ---- All answers ----------------------------------------------------------------------------------------------------


def test_until_a_relay_is_heard_a_person_is_needed(
    system: System, deployed_system: DeployedSystem, outputs: StackOutputs
) -> None:
    seen = system.look()
    assert {} == seen.unanswered()
    assert isinstance(seen.relay, Relay)
    assert not seen.relay.alive
    assert "no relay was heard: SQS counted no receive in the last 5 min" in remedies(seen)
    report_receives(deployed_system, outputs)
    heard = system.look()
    assert isinstance(heard.relay, Relay)
    assert heard.relay.alive
    assert [] == troubles(heard)


def test_files_messages_and_dead_letters_are_counted(
    system: System, deployed_system: DeployedSystem, outputs: StackOutputs, put: Callable[[str], None]
) -> None:
    for key in ("incoming/folder/", "incoming/b.csv", "processed/a.csv"):
        put(key)
    sqs = deployed_system.aws.client("sqs")
    sqs.send_message(QueueUrl=outputs.queue_url, MessageBody="{}")
    sqs.send_message(QueueUrl=outputs.dead_letter_queue_url, MessageBody="{}")
    seen = system.look()
    assert not isinstance(seen.incoming, Unanswered)
    assert Count(1) == seen.incoming.files
    assert seen.incoming.oldest is not None
    assert f"s3://{outputs.bucket_name}/incoming/b.csv" == seen.incoming.oldest.file
    assert isinstance(seen.queue, Queue)
    assert (True, 1) == (seen.queue.waiting >= 1, seen.queue.dead_letters)
    assert "1 dead letter" in remedies(seen)


def test_a_file_that_nothing_has_announced_is_named(
    system: System, outputs: StackOutputs, put: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("incoming/lost-event.csv")
    seen = system.look()
    assert not isinstance(seen.incoming, Unanswered)
    assert seen.incoming.unannounced is None
    monkeypatch.setattr(aws_parts, "UNANNOUNCED_TOO_LONG", timedelta(seconds=-60))  # as S3's times have no fractions
    seen = system.look()
    assert not isinstance(seen.incoming, Unanswered)
    assert seen.incoming.unannounced is not None
    assert f"s3://{outputs.bucket_name}/incoming/lost-event.csv" == seen.incoming.unannounced.file


def test_a_file_that_leaves_before_the_ledger_is_asked_is_not_named(
    system: System,
    outputs: StackOutputs,
    put: Callable[[str], None],
    deployed_system: DeployedSystem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("incoming/loaded-meanwhile.csv")
    ask = LedgerReader.unknown

    def loaded(reader: LedgerReader, files: Sequence[tuple[str, str]]) -> Iterator[str]:
        deployed_system.aws.client("s3").delete_object(Bucket=outputs.bucket_name, Key="incoming/loaded-meanwhile.csv")
        return ask(reader, files)

    monkeypatch.setattr(aws_parts, "UNANNOUNCED_TOO_LONG", timedelta(seconds=-60))
    monkeypatch.setattr(LedgerReader, "unknown", loaded)
    seen = system.look()
    assert not isinstance(seen.incoming, Unanswered)
    assert (Count(1), None) == (seen.incoming.files, seen.incoming.unannounced)


def test_active_runs_are_counted_by_flow_with_the_slots_of_their_queue(
    system: System, deployed_system: DeployedSystem
) -> None:
    client = deployed_system.prefect
    parameters, deployment_id = {"objects": ["s3://landing/a.csv"]}, deployed_system.deployment_id(INGEST_FLOW)
    runs = [client.create_flow_run_from_deployment(deployment_id, parameters=parameters) for _ in range(3)]
    client.set_flow_run_state(runs[0].id, Running(), force=True)
    client.set_flow_run_state(runs[1].id, Pending(), force=True)
    try:
        seen = system.look()
    finally:
        for run in runs:
            client.delete_flow_run(run.id)
    assert isinstance(seen.runs, tuple)
    assert Runs(INGEST_FLOW, 1, 1, 0, QUEUE_LIMITS["files"]) == seen.runs[0]
    assert Runs("notify", 0, 0, 0, QUEUE_LIMITS[EMAILS_QUEUE]) == seen.runs[1]
    assert Runs("sweep", 0, 0, 0, None) == seen.runs[2]


def test_a_pool_without_a_launcher_starts_cold(system: System) -> None:
    found = system.look().starts
    assert not isinstance(found, Unanswered)
    assert ("cold", "the work pool starts an interpreter for each run") == (found.kind, found.why)


def test_without_a_worker_and_with_a_paused_pool_a_person_is_needed(
    system: System, deployed_system: DeployedSystem
) -> None:
    client = deployed_system.prefect
    client.request("DELETE", f"/work_pools/{WORK_POOL}/workers/tested")  # type: ignore[arg-type]
    client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
    try:
        seen = system.look()
    finally:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))
        deployed_system.send_worker_heartbeat()
    assert isinstance(seen.workers, Workers)
    assert ((), 0, ("work-pool resume sensor-ingest",)) == (
        seen.workers.online,
        seen.workers.known,
        seen.workers.paused,
    )
    assert "no worker is online" in remedies(seen)
    assert "`prefect work-pool resume sensor-ingest`" in remedies(seen)


def test_a_look_imports_no_prefect_which_would_take_longer_than_all_else(system: System) -> None:
    assert system
    code = (
        "import sys; from deployments.commands.status.look import System; seen = System().look(); "
        "print(seen.unanswered(), 'prefect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "{} False" == done.stdout.strip()


# ---- A part does not answer -----------------------------------------------------------------------------------------


def test_without_a_prefect_server_aws_is_still_shown(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    with temporary_settings({PREFECT_API_URL: url}):
        seen = system.look()
    assert PREFECT_PARTS == set(seen.unanswered())
    assert f"No Prefect server answers at PREFECT_API_URL, {url}" in remedies(seen)


def test_without_the_name_of_a_server_none_is_started(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        seen = system.look()
    assert PREFECT_PARTS == set(seen.unanswered())
    assert "PREFECT_API_URL is not set" in remedies(seen)


@pytest.mark.usefixtures("deployed_system")
def test_without_aws_prefect_is_still_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    seen = System().look()
    assert AWS_PARTS == set(seen.unanswered())
    assert 1 == remedies(seen).count("AWS does not answer")


def test_a_stack_that_does_not_exist_is_the_reason(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system
    monkeypatch.setenv("SENSOR_INGEST_STACK", "no-such-stack")
    seen = System().look()
    assert AWS_PARTS == set(seen.unanswered())
    assert "no-such-stack" in remedies(seen)


def test_a_server_that_wants_credentials_is_asked_by_prefects_own_client(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, *_: object, **__: object) -> None:
        raise HTTPError(url, 401, "Unauthorized", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(prefect_parts, "call", refuse)
    seen = system.look()
    assert {} == seen.unanswered()
    assert isinstance(seen.workers, Workers)
    assert ["tested"] == [each.name for each in seen.workers.online]


def test_a_server_that_nothing_was_deployed_to(
    system: System, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.setattr(prefect_parts, "_POOL", "/work_pools/no-such-pool")
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        seen = system.look()
    assert PREFECT_PARTS == set(seen.unanswered())
    assert "`sensor-ingest deploy` makes it" in remedies(seen)


def test_ctrl_c_while_the_stack_is_looked_for_ends_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AwsParts, "prepare", interrupted)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    raised: list[BaseException] = []

    def look() -> None:
        try:
            System().look()
        except KeyboardInterrupt as error:
            raised.append(error)

    looking = Thread(target=copy_context().run, args=(look,), daemon=True)
    looking.start()
    looking.join(60)
    assert 1 == len(raised)


# ---- The command ----------------------------------------------------------------------------------------------------


def test_the_exit_code_says_whether_a_person_is_needed(
    system: System, deployed_system: DeployedSystem, outputs: StackOutputs, put: Callable[[str], None]
) -> None:
    assert system
    report_receives(deployed_system, outputs)
    healthy = CliRunner().invoke(app, ["status", "--json"])
    assert (0, True) == (healthy.exit_code, json.loads(healthy.stdout)["healthy"])
    put("incoming/a.csv")
    deployed_system.aws.client("sqs").send_message(QueueUrl=outputs.dead_letter_queue_url, MessageBody="{}")
    shown = CliRunner().invoke(app, ["status"])
    assert 1 == shown.exit_code
    assert "! 1 dead letter → see docs/how-to/dead-letters.md" in shown.stdout.splitlines()


def test_watch_draws_again_until_it_is_interrupted(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pause)
    shown = CliRunner().invoke(app, ["status", "--watch"])
    assert (0, [2, 2]) == (shown.exit_code, pauses)
    assert "stack status, " in shown.stdout


def test_prefect_cloud_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/1/workspaces/2")
    assert prefect_parts.is_cloud()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert not prefect_parts.is_cloud()
    monkeypatch.delenv("PREFECT_API_URL")
    with temporary_settings({PREFECT_API_URL: "https://api.prefect.cloud/api/accounts/1/workspaces/2"}):  # a profile
        assert prefect_parts.is_cloud()


def test_one_document_cannot_be_watched() -> None:
    refused = CliRunner().invoke(app, ["status", "--watch", "--json"])
    assert 2 == refused.exit_code
