"""The time of the ledger's table, from the answers of DynamoDB: leases and due times depend on no worker's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from blocks.runtime import runtime

_RESOLUTION: Final = timedelta(seconds=1)
"""A `Date` header has whole seconds. Source: RFC 9110, section 5.6.7."""

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True)
class _Reading:
    date: datetime
    earliest: datetime
    """The date, or a later time of the same second that an earlier answer has shown."""
    sent_at: float
    answered_at: float


class TableClock:
    """The bounds of the table's time, from the `Date` of its last answer and the monotonic clock of this process.

    They are whole milliseconds, as the items hold them.
    """

    def __init__(self) -> None:
        self._reading: _Reading | None = None

    def __reduce__(self) -> tuple[type["TableClock"], tuple[()]]:
        """Pickled without its reading: the monotonic clock of another process means nothing here."""
        return TableClock, ()

    @property
    def is_set(self) -> bool:
        """Whether the table has answered; until then the time is that of this machine."""
        return self._reading is not None

    def answered(self, headers: Mapping[str, str], sent_at: float) -> None:
        """Take the time from the headers of an answer to a request that was sent at `sent_at` (monotonic seconds)."""
        if "date" not in headers:
            return
        date, known = parsedate_to_datetime(headers["date"]), self.earliest() if self.is_set else None
        # The fraction of its second is cut: the time must not go back, or what was due a moment ago is not due now.
        earliest = known if known and date < known < date + _RESOLUTION else date
        self._reading = _Reading(date, earliest, sent_at, runtime().monotonic())

    def earliest(self) -> datetime:
        """The time that has certainly come: what is due or expired by it is so on the table's clock."""
        reading = self._reading
        if reading is None:
            return _whole(runtime().utc_now())
        return _whole(reading.earliest + timedelta(seconds=runtime().monotonic() - reading.answered_at))

    def latest(self) -> datetime:
        """The time that has certainly not passed: a lease that starts from it is never shorter than it says."""
        reading = self._reading
        if reading is None:
            return _whole(runtime().utc_now())
        elapsed = timedelta(seconds=runtime().monotonic() - reading.sent_at)
        return _whole(reading.date + _RESOLUTION + elapsed + _MILLISECOND)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
