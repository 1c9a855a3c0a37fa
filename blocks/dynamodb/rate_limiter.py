"""An adaptive rate limit: it finds the rate that the table accepts, and holds it.

Each round sends a little more, until the accepted share of the items falls. Then the table throttles: the rate goes at
once to what the table accepted in that round. A table may also return some items unprocessed at any load, so the share
is compared with the share of rounds without throttling. Time is passed in; nothing here waits.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

FIRST_RATE: Final = 4_000.0
"""Items a second at the start, and the number sent before any delay: what a new on-demand table accepts.

Source: "On-demand capacity mode", Amazon DynamoDB developer guide.
"""

SLOWEST_RATE: Final = 5.0
"""The lowest rate in items a second, so that the end of throttling is noticed."""

_TOLERANCE: Final = 0.03  # a share that is smaller by this much is not chance
_BELOW: Final = 0.98  # of the table's rate: room for the retries of unprocessed items
_FIRST_STEP: Final = 0.02
_CATCH_UP_SECONDS: Final = 0.1  # a busy machine can stop an event loop for so long; the limiter makes up for that
_ROUND: Final = (0.1, 40)  # least seconds and responses of a round ...
_SLOW_ROUND: Final = (1.0, 5)  # ... or these, if responses are rare
_ROUNDS_WITHOUT_EFFECT: Final = 3
_LEAST_NORMAL_SHARE: Final = 0.5  # a table that accepts less throttles, or is broken


@dataclass
class _Round:
    number: int
    started: float
    sent: int = 0
    responses: int = 0
    responded: int = 0
    accepted: int = 0

    def over(self, now: float) -> bool:
        elapsed = now - self.started
        return any(elapsed >= seconds and self.responses >= responses for seconds, responses in (_ROUND, _SLOW_ROUND))


class RateLimiter:
    """The send rate of one load."""

    def __init__(self, now: float) -> None:
        self.rate = FIRST_RATE
        self._next_at = now - 1.0
        self._round = _Round(0, now)
        self._normal_share = 1.0  # accepted share while the table does not throttle
        self._last_share = 1.0
        self._growing_for = self._throttled_for = 0
        self._was_throttled = False
        self._rate_before = self.rate

    def delay(self, items: int, now: float) -> float:
        """Seconds until these items may be sent."""
        self._next_at = max(self._next_at, now - (_CATCH_UP_SECONDS if self._round.number else 1.0)) + items / self.rate
        return max(0.0, self._next_at - items / self.rate - now)

    def sending(self, items: int) -> int:
        """The number of the current round, after these items were counted as sent in it; `responded` takes it."""
        self._round.sent += items
        return self._round.number

    def responded(self, number: int, items: int, accepted: int, now: float) -> None:
        """Count the response to items of that round; those to earlier rounds tell nothing about the current rate."""
        if number != self._round.number:
            return
        self._round.responses += 1
        self._round.responded += items
        self._round.accepted += accepted
        if self._round.over(now):
            self._adapt(self._round, now)
            self._round = _Round(number + 1, now)

    def _adapt(self, last: _Round, now: float) -> None:
        share, sent_rate = last.accepted / last.responded, last.sent / (now - last.started)
        if share < self._normal_share - self._chance(last.responded):
            self._slow_down(share, sent_rate)
        else:
            # Up fast, down slowly: a table that throttles slightly must not become the normal case.
            self._normal_share += (share - self._normal_share) * (0.5 if share > self._normal_share else 0.1)
            self._throttled_for = 0
            if sent_rate > 0.9 * self.rate:  # else something other than the rate limits the sending
                self._speed_up()
        self._last_share = share

    def _chance(self, items: int) -> float:
        """How much smaller the share of so many items can be by chance: three standard deviations."""
        return max(_TOLERANCE * self._normal_share, 3 * sqrt(self._normal_share * (1 - self._normal_share) / items))

    def _slow_down(self, share: float, sent_rate: float) -> None:
        if not self._throttled_for:
            self._rate_before = self.rate
        helped = self._throttled_for > 0 and share > self._last_share + self._chance(1_000)
        self._throttled_for = 1 if helped else self._throttled_for + 1
        if self._throttled_for >= _ROUNDS_WITHOUT_EFFECT and share >= _LEAST_NORMAL_SHARE:  # a lower rate does not help
            self._normal_share, self.rate, self._throttled_for = share, self._rate_before, 0
            return
        speed = sent_rate * share / self._normal_share if share else sent_rate / 4
        self.rate = max(SLOWEST_RATE, min(self.rate, _BELOW * speed))
        self._was_throttled, self._growing_for = self._was_throttled or helped, 0

    def _speed_up(self) -> None:
        self._growing_for += 1
        step = _FIRST_STEP * 2 ** min(self._growing_for - 1, 6) if self._was_throttled else 1.0
        self.rate *= 1 + min(step, 1.0)
