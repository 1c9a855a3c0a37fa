"""Files whose outcome is known beforehand, and the check that is the same after every fault."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from blocks.domain.limits import REJECT_LIMIT
from blocks.domain.models import LedgerEntry
from flows.rows import ValidationSettings
from tests.fakes.plain_rows import Outcome, plain_outcome
from tests.faults.calls import Call
from tests.faults.system import FaultySystem
from tests.support.system import Reading

GOOD_ROWS = 40
FIRST_SECOND = 1_483_906_366


@dataclass(frozen=True)
class DroppedFile:
    """A file that was dropped, with sensors that no other file has."""

    number: int
    name: str
    good_rows: int = GOOD_ROWS

    @property
    def key(self) -> str:
        return f"incoming/{self.name}"

    @property
    def sensor_prefix(self) -> str:
        return f"{self.number:04d}-"

    @property
    def words(self) -> tuple[str, str]:
        """What a call to AWS that is about this file says."""
        return self.name, f'"{self.sensor_prefix}'

    def is_meant_by(self, call: Call) -> bool:
        return any(word in call.text for word in self.words)

    @cached_property
    def content(self) -> bytes:
        """Good rows, one of them replaced by a later one, and two that break a rule."""
        chance = random.Random(self.number)  # noqa: S311 - the same content each time
        rows = [
            f"{self.sensor_prefix}{n % 7:04d},{FIRST_SECOND + n},{chance.randint(-99_999, 99_999) / 100:.2f}"
            for n in range(self.good_rows)
        ]
        rows += [f"{self.sensor_prefix}0000,{FIRST_SECOND},00.35", f"{self.sensor_prefix}0001,soon,1", "no reading"]
        return ("\n".join(rows) + "\n").encode()

    @property
    def is_refused(self) -> bool:
        """Whether too many of its rows break a rule."""
        rejected = len(self.outcome.rejects)
        return rejected > REJECT_LIMIT * (self.outcome.good + rejected)

    @cached_property
    def outcome(self) -> Outcome:
        """What has to become of it, by the plain rules."""
        return plain_outcome(self.content, ValidationSettings())


@dataclass(frozen=True)
class Dropper:
    """Makes files, and drops them into the bucket."""

    system: FaultySystem
    numbers: Iterator[int]

    def new(self, name: str, good_rows: int = GOOD_ROWS) -> DroppedFile:
        """A file that says in its name what happens to it; it is not dropped yet."""
        number = next(self.numbers)
        return DroppedFile(number, f"{number:04d}-{slug(name)}.csv", good_rows)

    def drop(self, file: DroppedFile) -> None:
        self.system.put(file.content, file.key)


def assert_nothing_lost_nothing_twice(
    system: FaultySystem, files: Sequence[DroppedFile], *, mails_at_most: int
) -> None:
    """Table, bucket, ledger and mail are as if nothing had happened.

    Args:
        system: where they were dropped.
        files: what was dropped.
        mails_at_most: emails that may say of a file that it was loaded: 1 unless the process died, or the answer got
            lost, between SES taking the email and the note of it.
    """
    readings, keys, mails = system.all_readings(), system.object_keys(), system.mails()
    for file in files:
        kept = "refused" if file.is_refused else "processed"
        rejects = f"refused/{file.name}.rejects.csv" if file.is_refused else f"rejects/{file.name}.rejects.csv"
        assert expected_readings(file) == readings.get(file.sensor_prefix, set()), f"{file.name}: the table differs"
        assert {f"{kept}/{file.name}"} == places(keys, file), f"{file.name}: {places(keys, file)}"
        assert rejects in keys, f"{file.name}: its rejects are not stored"
        assert file.content == system.content(f"{kept}/{file.name}"), f"{file.name}: the archived bytes differ"
        [entry] = system.entries_of(file.key)
        assert_entry_is_complete(entry, file)
        told = sum(tells_of(mail, file, entry) for mail in mails)
        assert 1 <= told <= mails_at_most, f"{file.name}: {told} emails tell of it"


def expected_readings(file: DroppedFile) -> set[Reading]:
    if file.is_refused:
        return set()
    return {(sensor, second, value) for (sensor, second), value in file.outcome.readings.items()}


def tells_of(mail: str, file: DroppedFile, entry: LedgerEntry) -> bool:
    """Whether the email says what became of the file, or is the one that was noted, and too long to name every file."""
    result = "refused" if file.is_refused else r"[\d,]+ rows? loaded"
    if re.search(rf"{re.escape(file.name)}: {result}", mail):
        return True
    return "not shown here" in mail and f"flow-run/{entry.notified_by}" in mail


def assert_entry_is_complete(entry: LedgerEntry, file: DroppedFile) -> None:
    outcome = file.outcome
    counts = (entry.lines, entry.header, entry.blank, entry.accepted, entry.replaced, entry.rejected)
    accepted = len(outcome.readings)
    expected = (outcome.lines, outcome.header, outcome.blank, accepted, outcome.good - accepted, len(outcome.rejects))
    assert expected == counts, f"{file.name}: the counts in the ledger are wrong"
    status, kept = ("refused", "refused") if file.is_refused else ("archived", "processed")
    assert (status, True) == (entry.status, entry.notified_at is not None), f"{file.name}: {entry!r}"
    assert f"s3://{entry.bucket}/{kept}/{file.name}" == entry.archived_to


def places(keys: set[str], file: DroppedFile) -> set[str]:
    """Where the object is, of the four places that it can be in."""
    prefixes = ("incoming/", "processed/", "refused/", "failed/")
    stem = file.name.removesuffix(".csv")
    found = (key for key in keys if key.startswith(prefixes) and stem in key)
    return {key for key in found if not key.endswith(".rejects.csv")}


def slug(name: str) -> str:
    """The name, of characters that nothing on the way writes in another way."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
