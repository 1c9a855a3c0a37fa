"""How fast to send: a rate that finds what the table takes, and holds it.

Each round a little more is sent, until the share of items taken falls. Then the table is full: what it took in that
round is its speed, and the rate goes there at once. What a table hands back whatever the load says nothing about its
speed, so the share is compared with that of rounds that were not full. Time is passed in; nothing here waits.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

FIRST_RATE: Final = 4_000.0
"""Items a second to begin with, and the number sent before any pacing: what a new on-demand table takes.

Source: "On-demand capacity mode", Amazon DynamoDB developer guide.
"""

SLOWEST_RATE: Final = 5.0
"""Items a second however full the table is, so that it is noticed when it no longer is."""

_TOLERANCE: Final = 0.03  # a share taken that is this much smaller is no chance
_BELOW: Final = 0.98  # of the table's speed: room for what was handed back to be sent again
_FIRST_STEP: Final = 0.02
_CATCH_UP_SECONDS: Final = 0.1  # a busy machine lets an event loop stand for so long; what was missed is made up for
_ROUND: Final = (0.1, 40)  # seconds and answers that a round takes at least ...
_SLOW_ROUND: Final = (1.0, 5)  # ... or these, when answers are rare
_ROUNDS_WITHOUT_EFFECT: Final = 3
_LEAST_USUAL: Final = 0.5  # what takes less than this is full, or broken


@dataclass
class _Round:
    number: int
    started: float
    sent: int = 0
    answers: int = 0
    answered: int = 0
    taken: int = 0

    def over(self, now: float) -> bool:
        elapsed = now - self.started
        return any(elapsed >= seconds and self.answers >= answers for seconds, answers in (_ROUND, _SLOW_ROUND))


class Pacer:
    """The send rate of one load."""

    def __init__(self, now: float) -> None:
        self.rate = FIRST_RATE
        self._next = now - 1.0
        self._round = _Round(0, now)
        self._usual = 1.0  # share of items taken while the table is not full
        self._last_share = 1.0
        self._growing_for = self._full_for = 0
        self._was_full = False
        self._rate_before = self.rate

    def pause(self, items: int, now: float) -> float:
        """Seconds to wait before these items may be sent."""
        self._next = max(self._next, now - (_CATCH_UP_SECONDS if self._round.number else 1.0)) + items / self.rate
        return max(0.0, self._next - items / self.rate - now)

    def sending(self, items: int) -> int:
        """Note that these items go out now; the number of their round is what `answered` wants to know."""
        self._round.sent += items
        return self._round.number

    def answered(self, number: int, items: int, taken: int, now: float) -> None:
        """Note what became of items of that round; answers to earlier rounds say nothing about the present rate."""
        if number != self._round.number:
            return
        self._round.answers += 1
        self._round.answered += items
        self._round.taken += taken
        if self._round.over(now):
            self._adapt(self._round, now)
            self._round = _Round(number + 1, now)

    def _adapt(self, last: _Round, now: float) -> None:
        share, sent_rate = last.taken / last.answered, last.sent / (now - last.started)
        if share < self._usual - self._chance(last.answered):
            self._slow_down(share, sent_rate)
        else:
            # Up fast, down slowly: a table that is slightly too full must not become what is usual.
            self._usual += (share - self._usual) * (0.5 if share > self._usual else 0.1)
            self._full_for = 0
            if sent_rate > 0.9 * self.rate:  # else something other than the rate holds the sending up
                self._speed_up()
        self._last_share = share

    def _chance(self, items: int) -> float:
        """How much smaller the share of that many items may be by chance: three standard deviations."""
        return max(_TOLERANCE * self._usual, 3 * sqrt(self._usual * (1 - self._usual) / items))

    def _slow_down(self, share: float, sent_rate: float) -> None:
        if not self._full_for:
            self._rate_before = self.rate
        helped = self._full_for > 0 and share > self._last_share + self._chance(1_000)
        self._full_for = 1 if helped else self._full_for + 1
        if self._full_for >= _ROUNDS_WITHOUT_EFFECT and share >= _LEAST_USUAL:  # sending less does not help
            self._usual, self.rate, self._full_for = share, self._rate_before, 0
            return
        speed = sent_rate * share / self._usual if share else sent_rate / 4
        self.rate = max(SLOWEST_RATE, min(self.rate, _BELOW * speed))
        self._was_full, self._growing_for = self._was_full or helped, 0

    def _speed_up(self) -> None:
        self._growing_for += 1
        step = _FIRST_STEP * 2 ** min(self._growing_for - 1, 6) if self._was_full else 1.0
        self.rate *= 1 + min(step, 1.0)
