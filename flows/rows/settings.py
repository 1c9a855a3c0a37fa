"""Settings of validation: the feed with its rules for rows, and the limits for files."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed

_MIB = 2**20
_LEAST_REJECT_BYTES = 16 * 1024
"""Room for one rejected row, whatever is in it: 1,000 bytes of it are shown, each as at most four characters."""


class RefusedError(Exception):
    """The whole file is refused; the text is the reason, for people. `validate_file` catches it."""


@dataclass(frozen=True)
class ValidationSettings:
    """The settings of validation, which include every limit of memory, size and time."""

    feed: Feed = SENSOR_READINGS
    """What the file is declared to be."""

    key_values: Mapping[str, str] = field(default_factory=dict)
    """The fields that come from the object's key, by name."""

    now: int | None = None
    """The epoch second that counts as now, which the latest accepted instant depends on; None means the start."""

    max_line_bytes: int = 64 * 1024
    """Longer lines are rejected with the reason `field_count`; their excess is not kept in memory."""

    block_bytes: int = 2 * _MIB
    """Bytes that are validated together, some 75,000 short rows. Memory and speed depend on it; the result does not."""

    duplicate_memory_bytes: int = 192 * _MIB
    """Memory for finding duplicates. A file with more rows takes more passes over its keys, not more memory."""

    concurrent_processes: int = 1
    """Processes of one machine that validate the same file concurrently and share `duplicate_memory_bytes`."""

    max_expanded_bytes: int = 64 * 1024 * _MIB
    """The largest size to which a compressed file may expand."""

    max_expansion_ratio: int = 200
    """The largest ratio of expanded to compressed bytes, checked once a file has expanded to `free_expanded_bytes`."""

    free_expanded_bytes: int = 64 * _MIB
    """Size up to which the ratio is not checked, as a small file of equal rows may exceed `max_expansion_ratio`."""

    max_stored_rejects: int = 10_000
    """The most rejected rows that are stored, the first of the file; all are counted."""

    max_reject_bytes: int = 4 * _MIB
    """The most bytes of stored rejected rows: a line of invisible characters is stored four times as long as it is."""

    show_rows: bool = True
    """Whether the first rejected rows of the result have their text. The stored ones have it always."""

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: a setting is out of its range; the text names the setting and the range.
        """
        if not 0 < self.block_bytes <= 2**30 or not 0 < self.max_line_bytes <= 2**29:
            raise ValueError("block_bytes is from 1 to 2**30, max_line_bytes from 1 to 2**29")
        if self.duplicate_memory_bytes < _MIB:
            raise ValueError(f"duplicate_memory_bytes is at least {_MIB}, not {self.duplicate_memory_bytes}")
        if self.max_stored_rejects < 1 or self.max_reject_bytes < _LEAST_REJECT_BYTES:
            raise ValueError(f"max_stored_rejects is at least 1, max_reject_bytes at least {_LEAST_REJECT_BYTES}")
        if self.concurrent_processes < 1:
            raise ValueError(f"concurrent_processes is at least 1, not {self.concurrent_processes}")

    def starts_at(self) -> int:
        """The epoch second that counts as now."""
        return int(time.time()) if self.now is None else self.now
