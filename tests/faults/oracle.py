"""The check that is the same after every fault: table, bucket, ledger and mail are as if nothing had happened.

`problems` is pure, so its own tests need no stack (`tests/protections/test_oracle.py`).

A file may have several versions, dropped one after the other. The newest one must be dealt with. An older one was
loaded, or it is superseded; then some of its rows may be in the table, if a run had begun to write them. Of each sensor
and second the table has the row of the newest version that was loaded, or of a superseded one that is newer still.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from tests.faults.dropped_files import FileVersion
from tests.faults.ledger_items import KEPT, Entry
from tests.support.system import Reading

if TYPE_CHECKING:
    from tests.faults.system import FaultySystem

ROWS_SHOWN = 3
REPLACED = (None, "superseded", "missing")
"""What the ledger may say of an older version that was not loaded.

A run that finds it, and claims it only after the newer one was archived and has left, sees that it is missing.
"""


@dataclass(frozen=True)
class World:
    """What is there at one moment."""

    readings: Mapping[str, set[Reading]]
    """All items of the table, by the first five characters of their sensor."""
    keys: set[str]
    """All objects of the bucket."""
    content: Callable[[str], bytes]
    entries: Sequence[Entry]
    mails: Sequence[str]
    """Subject and text of each."""

    def places(self, name: str) -> set[str]:
        """Where objects of that file are, of the four places that they can be in."""
        prefixes = ("incoming/", "processed/", "refused/", "failed/")
        stem = name.removesuffix(".csv")
        found = (key for key in self.keys if key.startswith(prefixes) and stem in key)
        return {key for key in found if not key.endswith(".rejects.csv")}


def assert_nothing_lost_nothing_twice(
    system: "FaultySystem", versions: Sequence[FileVersion], *, mails_at_most: int, world: World | None = None
) -> None:
    """Table, bucket, ledger and mail are as if nothing had happened.

    Args:
        system: where they were dropped.
        versions: all that was dropped of these files.
        mails_at_most: emails that may say of a version what became of it: 1 unless the process died, or the answer got
            lost, between SES taking the email and the note of it.
        world: what was there when all was quiet, where cases share it; else it is looked at now.
    """
    found = problems(versions, world or system.look(), mails_at_most=mails_at_most)
    assert not found, "\n".join([*found, system.evidence()])


def problems(versions: Sequence[FileVersion], world: World, *, mails_at_most: int) -> list[str]:
    """What is not as it has to be, a line each."""
    of_file: dict[str, list[FileVersion]] = defaultdict(list)
    for version in sorted(versions, key=lambda each: each.revision):
        of_file[version.name].append(version)
    return [
        problem for each in of_file.values() for problem in Judgement(each, world, mails_at_most=mails_at_most).all()
    ]


@dataclass(frozen=True)
class Judgement:
    """One file: all versions that were dropped, the oldest first, and what is there."""

    versions: Sequence[FileVersion]
    world: World
    mails_at_most: int

    def all(self) -> Iterator[str]:
        yield from self._wrong_entries()
        yield from self._wrong_rows()
        yield from self._wrong_places()
        for version in self._kept:
            yield from self._wrong_results(version)

    @property
    def _name(self) -> str:
        return self.versions[0].name

    @cached_property
    def _entries(self) -> dict[str | None, list[Entry]]:
        """The entries of the file by ETag: versions differ in content."""
        found: dict[str | None, list[Entry]] = defaultdict(list)
        for entry in self.world.entries:
            if entry.name == self._name:
                found[entry.etag].append(entry)
        return found

    def _status(self, version: FileVersion) -> str | None:
        entries = self._entries.get(version.etag)
        return entries[0].status if entries else None

    @cached_property
    def _kept(self) -> list[FileVersion]:
        """The versions that were loaded or refused, and archived."""
        return [version for version in self.versions if self._status(version) in KEPT]

    def _wrong_entries(self) -> Iterator[str]:
        *older, newest = self.versions
        if newest not in self._kept:
            yield f"{newest.label}, the newest, is not dealt with: {self._shown_entries(newest)}"
        for version in older:
            if version not in self._kept and self._status(version) not in REPLACED:
                yield f"{version.label} is neither loaded nor superseded: {self._shown_entries(version)}"
        for version in self.versions:
            if len(self._entries.get(version.etag, ())) > 1:
                yield f"{version.label} has several entries: {self._shown_entries(version)}"
            if self._status(version) is None and self._rows_of(version):
                yield f"{version.label} has rows in the table, but no entry in the ledger"
        for etag in self._entries.keys() - {version.etag for version in self.versions}:
            yield f"{self._name} has an entry of a version that was never dropped: {self._entries[etag][0]}"

    def _wrong_rows(self) -> Iterator[str]:
        """Of each sensor and second: whose row is in the table, and whose may be."""
        wrong: dict[str, list[Reading]] = defaultdict(list)
        for key in dict.fromkeys([*self._allowed, *self._stored]):
            stored, allowed = self._stored.get(key), self._allowed.get(key, {})
            if stored not in allowed:
                expected = ", ".join(sorted(set(allowed.values()))) or "no row"
                wrong[f"has {self._writer(key, stored)} instead of {expected}"].append((*key, stored or Decimal("NaN")))
        for what, rows in wrong.items():
            yield f"{self._name}: the table {what}: {len(rows)} keys, such as {rows[:ROWS_SHOWN]}"

    @cached_property
    def _stored(self) -> dict[tuple[str, int], Decimal]:
        rows = self.world.readings.get(self.versions[0].sensor_prefix, set())
        return {(sensor, second): value for sensor, second, value in rows}

    @cached_property
    def _allowed(self) -> dict[tuple[str, int], dict[Decimal | None, str]]:
        """The values that each key may have, None for no row, and whose they are."""
        allowed: dict[tuple[str, int], dict[Decimal | None, str]] = {}
        for version in self.versions:
            is_loaded = self._status(version) == "archived"
            for sensor, second, value in version.readings:
                if is_loaded:
                    allowed[sensor, second] = {value: version.label}
                elif version is not self.versions[-1]:
                    allowed.setdefault((sensor, second), {None: "no row"})[value] = version.label
        return allowed

    def _writer(self, key: tuple[str, int], value: Decimal | None) -> str:
        writers = (version.label for version in self.versions if value and (*key, value) in version.readings)
        return "no row" if value is None else next(writers, "a row that no version has")

    def _rows_of(self, version: FileVersion) -> set[Reading]:
        return version.readings & {(*key, value) for key, value in self._stored.items()}

    def _wrong_places(self) -> Iterator[str]:
        places = self.world.places(self._name)
        homes = {home for version in self._kept if (home := self._home(version))}
        if left := {place for place in places if place.startswith(("incoming/", "failed/"))}:
            yield f"{self._name} is still at {left}"
        if missing := homes - places:
            yield f"{self._name} is not at {missing}, where the ledger has it"
        known = {version.content for version in self.versions if version not in self._kept}
        for place in sorted(places - homes - left):
            # A run that lost its claim on a version before it could settle it may have left a copy of it.
            if self.world.content(place) not in known:
                yield f"{self._name} is also at {place}"

    def _home(self, version: FileVersion) -> str | None:
        """The key that the ledger says it was moved to."""
        address = self._entries[version.etag][0].archived_to
        return address.removeprefix("s3://").partition("/")[2] if address else None

    def _wrong_results(self, version: FileVersion) -> Iterator[str]:
        """What is wrong about a version that was loaded or refused."""
        entry, outcome, home = self._entries[version.etag][0], version.outcome, self._home(version)
        accepted = len(outcome.readings)
        expected = (outcome.lines, outcome.header, outcome.blank, accepted, outcome.good - accepted)
        if (*expected, len(outcome.rejects)) != entry.counts:
            yield f"{version.label}: the counts in the ledger are {entry.counts}"
        status, prefix, rejects = (
            ("refused", "refused/", "refused/") if version.is_refused else ("archived", "processed/", "rejects/")
        )
        if entry.status != status or not str(home).startswith(prefix):
            yield f"{version.label} should be {status}: {entry}"
        elif home in self.world.keys and self.world.content(str(home)) != version.content:
            yield f"{version.label}: the bytes at {home} differ"
        rejects_at = str(entry.rejects_at).removeprefix("s3://").partition("/")[2]
        if not rejects_at.startswith(rejects) or rejects_at not in self.world.keys:
            yield f"{version.label}: its rejects are not stored: {entry.rejects_at}"
        if not entry.is_emailed:
            yield f"{version.label}: the ledger does not say that it was emailed: {entry}"
        mails = sum(is_about(mail, version, entry) for mail in self.world.mails)
        if not 1 <= mails <= self.mails_at_most:
            yield f"{version.label}: {mails} emails say what became of it, not 1 to {self.mails_at_most}"

    def _shown_entries(self, version: FileVersion) -> str:
        return "; ".join(str(entry) for entry in self._entries.get(version.etag, ())) or "no entry"


def is_about(mail: str, version: FileVersion, entry: Entry) -> bool:
    """Whether the email says what became of the version, or may and is too long to show every file."""
    result = "refused" if version.is_refused else r"[\d,]+ rows? loaded"
    line = re.compile(rf"^{re.escape(version.name)}: {result}", re.MULTILINE)
    if any(line.search(part) and version.mark in part for part in re.split(r"\n\s*\n", mail)):
        return True
    return "not shown here" in mail and any(f"flow-run/{run}" in mail for run in entry.runs)
