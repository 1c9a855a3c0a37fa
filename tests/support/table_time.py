"""The table's time, set forward: what takes a minute or an hour is over at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from blocks.file_ledger.table_clock import TableClock


@contextmanager
def table_time_later(seconds: float) -> Iterator[None]:
    """While the block lasts, it is so many seconds later for all who go by the table's clock."""

    def later(bound: Callable[[TableClock], datetime]) -> Callable[[TableClock], datetime]:
        return lambda clock: bound(clock) + timedelta(seconds=seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TableClock, "earliest", later(TableClock.earliest))
        patch.setattr(TableClock, "latest", later(TableClock.latest))
        yield
