"""A seed that fails is found, shows its trace, and can be repeated alone."""

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.simulation.seeds import SeedFailedError, check, check_in_parallel, check_one
from tests.simulation.world import World

KEY = {"file": {"S": "a"}, "version": {"S": "v"}}


def lost_updates(world: World) -> None:
    """Two processes read and write without a condition: with some seeds, one overwrites the other's count."""
    world.dynamodb.create_table("counts", "file", "version")
    client = world.dynamodb.client

    def add() -> None:
        try:
            found = client.get_item(TableName="counts", Key=KEY, ConsistentRead=True)
            before = int(found["Item"]["n"]["N"]) if "Item" in found else 0
            client.put_item(TableName="counts", Item={**KEY, "n": {"N": str(before + 1)}})
        except (BotoCoreError, ClientError):
            pass
        else:
            added.append(1)

    added: list[int] = []
    for name in ("one", "two"):
        world.process(name, add)
    world.run()
    item = world.dynamodb.tables["counts"].get(("a", "v"))
    assert int(item["n"]["N"]) >= len(added) if item else not added


def holds(world: World) -> None:
    world.process("idle", lambda: world.runtime.sleep(1))
    world.run()


def failing_seed() -> int:
    for seed in range(100):
        try:
            check_one(lost_updates, seed)
        except SeedFailedError:
            return seed
    raise AssertionError("no seed showed the lost update")


def test_a_failing_seed_shows_the_trace_and_how_to_repeat_it() -> None:
    seed = failing_seed()
    with pytest.raises(SeedFailedError) as failed:
        check(lost_updates, range(100))
    text = str(failed.value)
    assert text.startswith(f"SEED={seed} repeats this: ")
    assert "dynamodb.put_item counts a v -> ok" in text
    assert "    counts a v: new, n 1\n" in text


def test_one_seed_is_repeated_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", str(failing_seed()))
    texts = []
    for _ in range(2):
        with pytest.raises(SeedFailedError) as failed:
            check(lost_updates, range(3))
        texts.append(str(failed.value))
    assert texts[0] == texts[1]


def test_seeds_in_parallel() -> None:
    check_in_parallel("tests.simulation.test_seeds:holds", range(4))
    with pytest.raises(SeedFailedError, match="repeats this"):
        check_in_parallel("tests.simulation.test_seeds:lost_updates", range(100))
