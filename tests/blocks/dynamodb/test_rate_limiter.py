"""The send rate finds what the table takes, and holds it. The clock is a number here, so minutes pass in no time."""

import heapq
from dataclasses import dataclass, field
from itertools import count
from random import Random

import pytest

from blocks.dynamodb.rate_limiter import FIRST_RATE, SLOWEST_RATE, RateLimiter
from tests.fakes.counting_table import Behaviour, CountingTable


def batch(items: int) -> bytes:
    put = '{"PutRequest":{"Item":{"sensor_id":{"S":"0000-0001"},"timestamp":{"N":"1"},"value":{"N":"1"}}}}'
    return ('{"RequestItems":{"readings":[' + ",".join([put] * items) + "]}}").encode()


BATCHES = {items: batch(items) for items in range(1, 26)}


@dataclass
class Load:
    """A load that never ends, on a table that takes `limit` items a second and hands a share back anyway."""

    limit: float | None
    share: float = 0.0
    burst_seconds: float = 0.1
    latency_seconds: float = 0.005
    connections: int = 128
    stands_every_seconds: float = 0.0
    now: float = 100.0
    rates: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        behaviour = Behaviour(unprocessed_share=self.share, items_per_second=self.limit, keep=False)
        behaviour.burst_seconds = self.burst_seconds
        self.table = CountingTable(behaviour)
        self.limiter = RateLimiter(self.now)
        self._under_way: list[tuple[float, int, int, int, int]] = []
        self._back: list[int] = []
        self._number = count()
        self._random, self._stands_at = Random(1), self.now  # noqa: S311 - the same each time

    def share_table_with(self, other: "Load") -> "Load":
        """Have both loads write to the other's table."""
        self.table = other.table
        return self

    def run(self, seconds: float) -> "Load":
        end = self.now + seconds
        while self.now < end:
            self._hear_answers()
            if len(self._under_way) == self.connections:
                self.now = self._under_way[0][0]
                continue
            items = self._back.pop() if self._back else 25
            self.now += self.limiter.delay(items, self.now) + 0.00002  # what it takes to send
            self._stand()
            self._send(items)
        return self

    def _stand(self) -> None:
        """Lose some time now and then, as on a machine that is busy with other things."""
        if self.stands_every_seconds and self.now > self._stands_at:
            self.now += self._random.choice([0.01, 0.02, 0.05, 0.1])
            self._stands_at = self.now + self._random.expovariate(1 / self.stands_every_seconds)

    def _send(self, items: int) -> None:
        self.table.requests += 1
        sent_in = self.limiter.sending(items)
        left = self.table.take(BATCHES[items], self.now)
        taken = 0 if left is None else items - len(left)
        answer = (self.now + self.latency_seconds, next(self._number), sent_in, items, taken)
        heapq.heappush(self._under_way, answer)

    def _hear_answers(self) -> None:
        while self._under_way and self._under_way[0][0] <= self.now:
            at, _, sent_in, items, taken = heapq.heappop(self._under_way)
            self.limiter.responded(sent_in, items, taken, at)
            self.rates.append(self.limiter.rate)
            if taken < items:
                self._back.append(items - taken)

    def measure(self, seconds: float) -> tuple[float, float]:
        """Items taken a second, and the share of requests refused, over a while from now on."""
        items, requests, refused = self.table.items, self.table.requests, self.table.refused
        self.run(seconds)
        share = (self.table.refused - refused) / (self.table.requests - requests)
        return (self.table.items - items) / seconds, share


@pytest.mark.parametrize(
    "load",
    [
        Load(5_000, share=0.2),
        Load(5_000),
        Load(1_000),
        Load(20_000, share=0.2),
        Load(5_000, share=0.2, latency_seconds=0.2),
        Load(5_000, burst_seconds=5),
        Load(1_000, burst_seconds=1),
    ],
    ids=lambda load: (
        f"{load.limit}/s, {load.share} handed back, {load.latency_seconds} s, burst {load.burst_seconds} s"
    ),
)
def test_the_rate_settles_at_the_tables_speed_with_few_requests_refused(load: Load) -> None:
    assert load.limit is not None
    speed, refused = load.run(5).measure(min(10, 60_000 / load.limit))
    assert 0.95 * load.limit < speed < 1.05 * load.limit
    assert refused < 0.1


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("limit", [25, 50, 100, 250])
@pytest.mark.parametrize("burst_seconds", [0.1, 1, 5])
def test_a_table_that_takes_a_few_batches_a_second_is_kept_busy(limit: int, share: float, burst_seconds: float) -> None:
    speed, refused = Load(limit, share, burst_seconds=burst_seconds).run(60).measure(120)
    assert speed > 0.8 * limit
    assert refused < 0.1


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("stands_every_seconds", [0.2, 0.1])
def test_the_rate_holds_on_a_machine_that_lets_the_load_stand_again_and_again(
    share: float, stands_every_seconds: float
) -> None:
    speed, refused = Load(5_000, share, stands_every_seconds=stands_every_seconds).run(5).measure(10)
    assert speed > 0.95 * 5_000
    assert refused < 0.1


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_loads_of_two_processes_that_know_nothing_of_each_other_settle_together(share: float) -> None:
    one = Load(5_000, share)
    two = Load(5_000, share, now=100.003).share_table_with(one)
    table = one.table
    at_start = (0, 0, 0)
    while one.now < 115:
        if one.now < 105:
            at_start = (table.items, table.requests, table.refused)
        min(one, two, key=lambda load: load.now).run(0.001)
    items, requests, refused = (
        now - then for now, then in zip((table.items, table.requests, table.refused), at_start, strict=True)
    )
    assert 0.95 * 5_000 < items / 10 < 1.05 * 5_000
    assert refused / requests < 0.1


def test_a_table_without_a_limit_is_not_held_back() -> None:
    speed, _ = Load(None, connections=32).run(1).measure(0.5)
    assert speed > 20 * FIRST_RATE


def test_what_is_handed_back_whatever_the_load_does_not_slow_a_load_down() -> None:
    speed, _ = Load(None, share=0.2, connections=32).run(3).measure(0.5)
    assert speed > 10 * FIRST_RATE


def test_a_table_that_becomes_slower_and_faster_again_is_followed() -> None:
    load = Load(10_000).run(10)
    load.table.behaviour.items_per_second = 2_000
    slower, _ = load.run(5).measure(10)
    load.table.behaviour.items_per_second = 20_000
    faster, _ = load.run(10).measure(10)
    assert 1_900 < slower < 2_100
    assert 18_000 < faster < 21_000


def test_a_table_that_takes_nothing_is_still_asked_now_and_then() -> None:
    assert SLOWEST_RATE <= Load(0).run(60).limiter.rate < 25


def test_the_first_items_are_not_held_back() -> None:
    limiter = RateLimiter(now=100.0)
    pauses = [limiter.delay(25, now=100.0) for _ in range(162)]
    assert [0.0] * 160 == pauses[:160]
    assert 0 < pauses[161]


def test_answers_to_an_earlier_round_say_nothing_about_this_one() -> None:
    limiter = RateLimiter(now=100.0)
    for _ in range(40):
        limiter.sending(25)
        limiter.responded(0, 25, 25, now=101.0)
    rate = limiter.rate
    for seconds in range(100):
        limiter.responded(0, 25, 0, now=105.0 + seconds)
    assert rate == limiter.rate
