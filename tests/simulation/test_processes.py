"""Simulated processes: clocks, threads, kills, stalls, and errors that end them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.simulation.faults import Faults
from tests.simulation.processes import CALLS_AFTER_THE_END, Flag, Process
from tests.simulation.scheduler import START
from tests.simulation.world import World

KEY = {"file": {"S": "a"}, "version": {"S": "1"}}


@pytest.fixture
def world() -> Iterator[World]:
    with World(1, Faults()) as world:
        world.dynamodb.create_table("files", "file", "version")
        yield world


def count(world: World) -> None:
    world.dynamodb.client.update_item(
        TableName="files",
        Key=KEY,
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def counted(world: World) -> int:
    item = world.dynamodb.tables["files"].get(("a", "1"))
    return int(item["n"]["N"]) if item else 0


def forever(world: World, after: Callable[[], object] = lambda: None) -> Callable[[], None]:
    def run() -> None:
        while True:
            count(world)
            world.runtime.sleep(1)
            after()

    return run


def test_clocks_of_a_process(world: World) -> None:
    seen: list[tuple[float, timedelta]] = []

    def look() -> None:
        started = world.runtime.monotonic()
        world.runtime.sleep(10)
        seen.append((world.runtime.monotonic() - started, world.runtime.utc_now() - START))

    world.process("ahead", look, skew=120)
    world.run()
    ((elapsed, wall),) = seen
    assert elapsed == pytest.approx(10)
    assert wall == timedelta(seconds=130)
    assert world.scheduler.now == 10


def test_a_kill_ends_a_process_between_two_calls(world: World) -> None:
    process = world.process("worker", forever(world))
    world.scheduler.at(5.5, process.kill)
    world.run(until=20)
    assert process.ended == "killed"
    assert counted(world) == 6
    assert process.error is None


def test_a_kill_during_a_call_does_not_undo_it(world: World) -> None:
    world.network.least_latency = 1
    process = world.process("worker", lambda: count(world), skew=0)
    world.scheduler.at(0.5, process.kill)
    world.run()
    assert (process.ended, counted(world)) == ("killed", 1)


def test_nothing_that_a_killed_process_still_runs_has_an_effect(world: World) -> None:
    reached = []

    @contextmanager
    def released_at_the_end() -> Iterator[None]:
        try:
            yield
        except BaseException:
            count(world)
            reached.append("after the call")
            raise
        finally:
            reached.append("finally")
            world.runtime.sleep(1)

    def run() -> None:
        with world.runtime.repeated(lambda: True, 0.1, "renewal"), released_at_the_end():
            world.runtime.sleep(100)

    process = world.process("worker", run)
    world.scheduler.at(5, process.kill)
    world.run()
    assert reached == ["finally"]
    assert counted(world) == 0
    assert process.threads == []


def test_a_thread_that_survives_its_end_waits_for_ever(world: World) -> None:
    tries: list[None] = []

    def stubborn() -> None:
        while True:
            try:
                world.runtime.sleep(1)
            except BaseException:  # noqa: BLE001 - what product code should not do
                tries.append(None)

    process = world.process("stubborn", stubborn)
    world.scheduler.at(5, process.kill)
    world.run()
    assert CALLS_AFTER_THE_END <= len(tries) < CALLS_AFTER_THE_END + 5


def test_a_process_can_be_killed_by_itself_and_by_another(world: World) -> None:
    first = world.process("first", forever(world))

    def kill_both() -> None:
        first.kill()
        second.kill()
        world.runtime.sleep(1)
        count(world)

    second = world.process("second", kill_both)
    world.run(until=5)
    assert {first.ended, second.ended} == {"killed"}
    assert counted(world) <= 1


def test_a_stall_freezes_all_threads_and_no_clock(world: World) -> None:
    times: list[float] = []

    def renew() -> bool:
        times.append(world.scheduler.now)
        return True

    def run() -> None:
        with world.runtime.repeated(renew, 1.5, "renewal"):
            before = world.runtime.monotonic()
            world.runtime.sleep(5)
            times.append(world.runtime.monotonic() - before)

    process = world.process("worker", run)
    world.scheduler.at(2, process.stall, 100)
    world.run()
    assert sorted(times) == [1.5, 102, pytest.approx(102)]
    assert process.ended == "finished"


def test_a_suspended_machine_does_not_count_the_time(world: World) -> None:
    times: list[float] = []

    def run() -> None:
        before = world.runtime.monotonic()
        world.runtime.sleep(5)
        times.append(world.runtime.monotonic() - before)

    process = world.process("worker", run)
    world.scheduler.at(2, lambda: process.stall(100, suspended=True))
    world.run()
    assert times == [pytest.approx(2)]
    assert world.scheduler.now == pytest.approx(102)


def test_an_answer_that_came_during_a_stall_is_there_after_it(world: World) -> None:
    process = world.process("worker", lambda: count(world))
    world.scheduler.at(0.001, process.stall, 500)
    world.run()
    assert (process.ended, counted(world)) == ("finished", 1)
    assert world.scheduler.now == pytest.approx(500.001)


def test_an_error_that_escapes_is_kept_and_shown(world: World) -> None:
    def fail() -> None:
        world.runtime.sleep(1)
        raise ValueError("no such thing")

    process = world.process("worker", fail)
    world.run()
    assert process.ended == "failed"
    assert isinstance(process.error, ValueError)
    assert "worker                    ends with ValueError('no such thing')" in str(world.trace)


def test_other_threads_end_with_the_main_thread(world: World) -> None:
    def run() -> None:
        world.runtime.spawn("more", forever(world))
        world.runtime.sleep(2.5)

    process = world.process("worker", run)
    world.run(until=10)
    assert (process.ended, counted(world)) == ("finished", 3)


def test_a_flag_wakes_or_times_out(world: World) -> None:
    flag, answers = Flag(world.scheduler), []
    world.process("waiting", lambda: answers.append((flag.wait(1), flag.wait(), flag.wait(1))))
    world.scheduler.at(3, flag.set)
    world.run()
    assert answers == [(False, True, True)]
    assert world.scheduler.now == 3


def test_a_pool_returns_results_in_order_and_the_first_error(world: World) -> None:
    results: list[object] = []

    def work(number: int) -> int:
        world.runtime.sleep(world.runtime.uniform(0, 1))
        if number in (5, 7):
            raise ValueError(number)
        return number * 10

    def run() -> None:
        results.append(world.runtime.mapped(work, range(5), 3))
        with pytest.raises(ValueError, match="5"):
            world.runtime.mapped(work, range(9), 3)
        results.append("raised")

    process = world.process("worker", run)
    world.run()
    assert process.error is None
    assert results == [[0, 10, 20, 30, 40], "raised"]


def test_the_test_learns_that_a_process_has_ended(world: World) -> None:
    ended: list[str] = []

    def note(process: Process) -> None:
        ended.append(f"{process.name} {process.ended} at {world.scheduler.now:g}")

    for name in ("a", "b"):
        world.process(name, lambda: world.runtime.sleep(3)).on_end(note)
    world.scheduler.at(1, world.processes[1].kill)
    world.run()
    assert ended == ["b killed at 1", "a finished at 3"]
