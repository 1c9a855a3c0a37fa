"""What a row has to look like, and how much may be wrong with a file."""

import time
from dataclasses import dataclass
from typing import Literal, get_args

from blocks.domain.expressions import check_expression
from blocks.domain.limits import EARLIEST_TIMESTAMP, REJECT_LIMIT, SENSOR_ID_PATTERN, TIMESTAMP_BITS

Reason = Literal["field_count", "sensor_id", "timestamp", "timestamp_range", "value", "value_range", "encoding"]
REASONS: tuple[Reason, ...] = get_args(Reason)

COLUMNS = ("sensor_id", "timestamp", "value")

_A_DAY = 86_400
_MIB = 2**20


class RefusedError(Exception):
    """The file as a whole cannot be taken; the text says why, in plain words. It never leaves this package."""


@dataclass(frozen=True)
class RowRules:
    """Settings of validation. Every limit on memory, size or time is one of them."""

    sensor_id_pattern: str = SENSOR_ID_PATTERN
    r"""Regular expression that a whole sensor id matches, in RE2's syntax, where `\d` is an ASCII digit."""

    earliest: int = EARLIEST_TIMESTAMP
    """First timestamp taken, in epoch seconds."""

    latest: int | None = None
    """Last timestamp taken, in epoch seconds; none means a day ahead of now."""

    reject_limit: float = REJECT_LIMIT
    """Share of rows that may break a rule. Above it the file as a whole is refused."""

    max_line_bytes: int = 64 * 1024
    """Longer lines are refused (`field_count`), whatever they hold; what is over is never in memory."""

    block_bytes: int = 2 * _MIB
    """Bytes looked at in one go: about 75,000 rows. The outcome does not depend on it; memory and speed do."""

    duplicate_memory_bytes: int = 192 * _MIB
    """Memory that finding duplicates may take. More rows than fit cost more passes over their keys, not more memory."""

    memory_shared_by: int = 1
    """Processes that look for the duplicates of one file at the same time, and share the memory for that."""

    max_gzip_bytes: int = 64 * 1024 * _MIB
    """Size that a compressed file may expand to."""

    max_gzip_ratio: int = 200
    """Bytes that one compressed byte may expand to, once a file has expanded to `free_gzip_bytes`."""

    free_gzip_bytes: int = 64 * _MIB
    """Size that a compressed file may expand to at any ratio, as a small file of equal rows well may."""

    def __post_init__(self) -> None:
        """Refuse settings that could not work.

        Raises:
            ValueError: with the setting's name and what it may be.
        """
        if not 0 <= self.reject_limit <= 1:
            raise ValueError(f"reject_limit is a share from 0 to 1, not {self.reject_limit}")
        if not 0 <= self.earliest < 2**TIMESTAMP_BITS or not 0 <= self.last_second() < 2**TIMESTAMP_BITS:
            raise ValueError(f"earliest and latest are epoch seconds from 0 to {2**TIMESTAMP_BITS - 1}")
        if not 0 < self.block_bytes <= 2**30 or not 0 < self.max_line_bytes <= 2**29:
            raise ValueError("block_bytes is from 1 to 2**30, max_line_bytes from 1 to 2**29")
        if self.duplicate_memory_bytes < _MIB:
            raise ValueError(f"duplicate_memory_bytes is at least {_MIB}, not {self.duplicate_memory_bytes}")
        if self.memory_shared_by < 1:
            raise ValueError(f"memory_shared_by is at least 1, not {self.memory_shared_by}")
        try:
            check_expression(self.sensor_id_pattern)
        except ValueError as error:
            raise ValueError(f"sensor_id_pattern: {error}") from error

    def last_second(self) -> int:
        return int(time.time()) + _A_DAY if self.latest is None else self.latest
