"""Files that are dropped, version after version, with an outcome that is known beforehand."""

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from blocks.domain.limits import REJECT_LIMIT
from flows.rows import ValidationSettings
from tests.fakes.plain_rows import Outcome, plain_outcome
from tests.support.system import Reading

if TYPE_CHECKING:
    from tests.faults.calls import Call
    from tests.faults.system import FaultySystem

GOOD_ROWS: Final = 40
MANY_ROWS: Final = 400
"""Sixteen batches of BatchWriteItem, so that a load can stand in the middle of them."""

NEW_ROWS: Final = 10
"""By how many rows a version is ahead of the one before: the rest of its keys are in both."""

FIRST_SECOND: Final = 1_483_906_366
SENSORS: Final = 7


@dataclass(frozen=True)
class FileVersion:
    """One version of a file. Other files have other sensors; other versions have most keys in common, and other values.

    The last two decimals of a value are the number of its version, so a row in the table says who wrote it.
    """

    number: int
    name: str
    good_rows: int = GOOD_ROWS
    revision: int = 1

    @property
    def key(self) -> str:
        return f"incoming/{self.name}"

    @property
    def sensor_prefix(self) -> str:
        return f"{self.number:04d}-"

    @property
    def label(self) -> str:
        return f"{self.name} version {self.revision}"

    @property
    def words(self) -> tuple[str, str]:
        """What a call to AWS that is about this file says, whichever its version."""
        return self.name, f'"{self.sensor_prefix}'

    def is_meant_by(self, call: "Call") -> bool:
        return any(word in call.text for word in self.words)

    def newer(self, good_rows: int | None = None) -> "FileVersion":
        """The next version of the file; it is not dropped yet."""
        return replace(self, revision=self.revision + 1, good_rows=good_rows or self.good_rows)

    @property
    def mark(self) -> str:
        """A rejected row of this version alone, which reports and emails quote."""
        return f"no reading of version {self.revision}."

    @cached_property
    def content(self) -> bytes:
        """Good rows, one of them replaced by a later one, and two that break a rule."""
        chance = random.Random(f"{self.number} {self.revision}")  # noqa: S311 - the same content each time
        first = (self.revision - 1) * NEW_ROWS
        rows = [
            f"{self._sensor(n)},{FIRST_SECOND + n},{chance.randint(-999, 999)}.{self.revision:02d}"
            for n in range(first, first + self.good_rows)
        ]
        rows += [f"{self._sensor(first)},{FIRST_SECOND + first},00.35{self.revision:02d}"]
        rows += [f"{self._sensor(1)},soon,1", self.mark]
        return ("\n".join(rows) + "\n").encode()

    def _sensor(self, row: int) -> str:
        return f"{self.sensor_prefix}{row % SENSORS:04d}"

    @cached_property
    def etag(self) -> str:
        """What S3 calls this content: its MD5, as it is uploaded in one part."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()

    @cached_property
    def outcome(self) -> Outcome:
        """What has to become of it, by the plain rules."""
        return plain_outcome(self.content, ValidationSettings())

    @property
    def is_refused(self) -> bool:
        """Whether too many of its rows break a rule."""
        rejected = len(self.outcome.rejects)
        return rejected > REJECT_LIMIT * (self.outcome.good + rejected)

    @property
    def readings(self) -> set[Reading]:
        """The rows that a load of it writes."""
        if self.is_refused:
            return set()
        return {(sensor, second, value) for (sensor, second), value in self.outcome.readings.items()}


@dataclass(frozen=True)
class Dropper:
    """Makes files, and drops them into the bucket."""

    system: "FaultySystem"
    numbers: Iterator[int]

    def new(self, name: str, good_rows: int = GOOD_ROWS) -> FileVersion:
        """The first version of a file that says in its name what happens to it; it is not dropped yet."""
        number = next(self.numbers)
        return FileVersion(number, f"{number:04d}-{slug(name)}.csv", good_rows)

    def drop(self, file: FileVersion) -> None:
        self.system.put(file.content, file.key)


def newest_of_each(versions: Sequence[FileVersion]) -> list[FileVersion]:
    """The last version of each file, in the order in which the files were dropped first."""
    return list({version.name: version for version in sorted(versions, key=lambda each: each.revision)}.values())


def slug(name: str) -> str:
    """The name, of characters that nothing on the way writes in another way."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
