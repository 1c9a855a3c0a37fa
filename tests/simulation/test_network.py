"""The simulated network: every fault has the effect that its name says, and one seed makes one history."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from tests.simulation.faults import KINDS, Fault, Faults
from tests.simulation.network import ClientSettings
from tests.simulation.world import World

ONE = {":one": {"N": "1"}}
CLAIM = {"file": {"S": "a"}, "version": {"S": "#claim"}}
ENTRY = {"file": {"S": "a"}, "version": {"S": "1"}}
ADDED = {"TableName": "files", "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": ONE}


def make_world(seed: int, faults: Faults | None = None, attempts: int = 1) -> World:
    world = World(seed, faults)
    world.dynamodb.create_table("files", "file", "version", {"by-number": ("kind", "n", None)}, numbers=["n"])
    world.network.settings["dynamodb"] = ClientSettings(attempts=attempts)
    return world


def count(world: World, times: int = 1) -> None:
    for _ in range(times):
        world.dynamodb.client.update_item(**ADDED, Key=CLAIM)


def counted(world: World, version: str = "#claim") -> int:
    item = world.dynamodb.tables["files"].get(("a", version))
    return int(item["n"]["N"]) if item else 0


def outcome(fault: Fault, call: Callable[[World], object] = count, attempts: int = 1) -> tuple[World, str]:
    """The world after one call that certainly meets the fault, and how its process ended."""
    world = make_world(3, Faults(rates={fault: 1.0}), attempts)
    with world:
        process = world.process("worker", lambda: call(world), skew=0)
        world.run()
    return world, type(process.error).__name__ if process.error else process.ended


def test_a_lost_request_has_no_effect() -> None:
    world, ended = outcome("request lost")
    assert (counted(world), ended) in [(0, "ReadTimeoutError"), (0, "EndpointConnectionError")]


def test_a_lost_answer_has_its_effect() -> None:
    world, ended = outcome("answer lost")
    assert (counted(world), ended) in [(1, "ReadTimeoutError"), (1, "ConnectionClosedError")]
    assert "answer will be lost" in str(world.trace)


def test_a_late_request_has_its_effect_after_the_caller_gave_up() -> None:
    late = []
    for seed in range(40):
        world = make_world(seed, Faults(rates={"request late": 1.0}))
        with world:
            process = world.process("worker", partial(count, world), skew=0)
            process.on_end(lambda _, world=world: late.append((counted(world), world)))  # type: ignore[misc]
            world.run()
        assert isinstance(process.error, BotoCoreError)
    took_effect = [counted(world) for before, world in late if before == 0]
    assert took_effect.count(1) > 20
    assert took_effect.count(0) > 0, "none came after its signature had expired"


@pytest.mark.parametrize(("skew", "effect"), [(0, 1), (-200, 0), (250, 1)])
def test_a_signature_lives_five_minutes_by_the_senders_clock(skew: float, effect: int) -> None:
    with make_world(1) as world:
        world.network.faults = Faults()
        world.network.least_latency = 200
        world.process("worker", lambda: count(world), skew=skew)
        world.run()
        assert counted(world) == effect


def test_a_server_error_may_have_its_effect() -> None:
    counts = set()
    for seed in range(20):
        with make_world(seed, Faults(rates={"server error": 1.0})) as world:
            process = world.process("worker", partial(count, world))
            world.run()
        assert isinstance(process.error, ClientError)
        assert process.error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        counts.add(counted(world))
    assert counts == {0, 1}


def test_killed_before_and_during_a_call() -> None:
    world, ended = outcome("killed before")
    assert (counted(world), ended) == (0, "killed")
    world, ended = outcome("killed during")
    assert (counted(world), ended) == (1, "killed")


def test_stalled_before_and_during_a_call() -> None:
    for fault in ("stalled before", "stalled during"):
        world, ended = outcome(fault)
        assert (counted(world), ended) == (1, "finished")
        assert "stalls for" in str(world.trace)


def test_botocore_makes_a_call_again() -> None:
    world, ended = outcome("answer lost", attempts=4)
    assert (counted(world), world.network.calls) == (4, 4)
    assert ended != "finished"


def test_a_process_can_be_spared() -> None:
    with make_world(1, Faults(rates=dict.fromkeys(KINDS, 0.125))) as world:
        process = world.process("uploader", lambda: count(world, 50), faults=False)
        world.run()
        assert (process.ended, counted(world)) == ("finished", 50)


def test_a_repeated_transaction_has_its_effect_once() -> None:
    """botocore sends the same token with every attempt."""

    def add_to_both(world: World) -> None:
        actions = [{"Update": {**ADDED, "Key": key}} for key in (CLAIM, ENTRY)]
        world.dynamodb.client.transact_write_items(TransactItems=actions)

    world, _ = outcome("answer lost", add_to_both, attempts=5)
    assert world.network.calls == 5
    assert (counted(world), counted(world, "1")) == (1, 1)


def test_transactions_that_meet_conflict_and_none_is_lost() -> None:
    codes: list[str] = []
    done: list[dict[str, object]] = []

    def add_to_both(world: World) -> None:
        actions = [{"Update": {**ADDED, "Key": key}} for key in (CLAIM, ENTRY)]
        for _ in range(20):
            try:
                done.append(world.dynamodb.client.transact_write_items(TransactItems=actions))
            except ClientError as error:
                codes.extend(each["Code"] for each in error.response["CancellationReasons"])

    with make_world(1, Faults()) as world:
        for name in "abc":
            world.process(name, partial(add_to_both, world))
        world.run()
        assert set(codes) <= {"TransactionConflict", "None"}
        assert "TransactionConflict" in codes
        assert (counted(world), counted(world, "1")) == (len(done), len(done))
        assert {tuple(answer) for answer in done} == {("ResponseMetadata",)}


def test_an_index_lags_behind_its_table() -> None:
    seen: list[tuple[int, bool]] = []
    found = {
        "TableName": "files",
        "IndexName": "by-number",
        "KeyConditionExpression": "kind = :k",
        "ExpressionAttributeValues": {":k": {"S": "claim"}},
    }

    def run(world: World) -> None:
        client = world.dynamodb.client
        for number in range(30):
            item = {**CLAIM, "kind": {"S": "claim"}, "n": {"N": str(number)}}
            client.put_item(TableName="files", Item=item)
            shown = [each["n"]["N"] for each in client.query(**found)["Items"]]
            seen.append((len(shown), shown == [str(number)]))
        world.runtime.sleep(60)
        assert client.query(**found)["Items"][0]["n"]["N"] == "29"

    with make_world(1, Faults(longest_index_lag_seconds=5)) as world:
        process = world.process("worker", lambda: run(world))
        world.run()
    assert process.error is None
    assert {count for count, _ in seen} <= {0, 1}
    assert {is_current for _, is_current in seen} == {True, False}


def test_rows_of_a_broken_read_are_not_taken_for_all_of_them() -> None:
    with make_world(1, Faults(rates={"answer lost": 1e-9})) as world:
        world.s3.create_bucket("landing")
        world.s3.client.put_object(Bucket="landing", Key="a", Body=b"x" * 100)
        world.network.faults = Faults(rates={"answer lost": 0.5})
        errors = []

        def run() -> None:
            for _ in range(20):
                try:
                    body = world.s3.client.get_object(Bucket="landing", Key="a")["Body"]
                    assert b"".join(body.iter_chunks(10)) == b"x" * 100
                except BotoCoreError as error:
                    errors.append(type(error).__name__)

        process = world.process("worker", run)
        world.run()
    assert process.error is None
    assert "ResponseStreamingError" in errors


HISTORY = "from tests.simulation.test_network import history; print(history(4))"


def history(seed: int) -> str:
    """What happens in a world where everything can go wrong."""
    with make_world(seed, attempts=3) as world:
        world.s3.create_bucket("landing")
        queue = world.sqs.create_queue("queue")

        def run() -> None:
            for number in range(8):
                try:
                    count(world)
                    world.s3.client.put_object(Bucket="landing", Key=f"k{number % 2}", Body=world.runtime.unique_id())
                    world.sqs.client.send_message(QueueUrl=queue.url, MessageBody=str(number))
                    world.sqs.client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=5)
                    world.readings.write([("s", number, "1")], version="v")
                except (ClientError, BotoCoreError) as error:
                    world.runtime.log().warning("failed: %s", type(error).__name__)

        for name in ("one", "two", "three"):
            world.process(name, run)
        world.run(until=3600)
        return str(world.trace)


def test_a_seed_repeats_its_history() -> None:
    assert [history(seed) for seed in range(15)] == [history(seed) for seed in range(15)]
    assert len({history(seed) for seed in range(15)}) == 15


def test_a_seed_repeats_its_history_in_another_python() -> None:
    """The order of sets of texts differs from one start of Python to the next."""
    other = subprocess.run(
        [sys.executable, "-c", HISTORY],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.rstrip("\n") == history(4)


def test_the_trace_is_readable() -> None:
    world, _ = outcome("answer lost")
    lines = str(world.trace).splitlines()
    assert lines[0] == "     0.0000  worker                    starts, clock off by +0 s"
    assert any("dynamodb.update_item files a #claim ADD n 1 -> ok" in line for line in lines)
    assert any(line.endswith("    files a #claim: new, n 1") for line in lines)
    assert any("no answer after" in line for line in lines)


def test_a_read_timeout_is_as_long_as_the_client_waits() -> None:
    waits = set()
    for seed in range(10):
        with make_world(seed, Faults(rates={"request lost": 1.0})) as world:
            process = world.process("worker", partial(count, world))
            world.run()
        if isinstance(process.error, ReadTimeoutError):
            waits.add(round(world.scheduler.now, 3))
    assert waits == {60.0}
