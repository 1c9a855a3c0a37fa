"""The oracle of the fault tests sees what went wrong. These tests need no stack, the fault tests take an hour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.faults.dropped_files import FileVersion
from tests.faults.ledger_items import Entry
from tests.faults.oracle import World, problems
from tests.support.system import Reading

FIRST = FileVersion(7, "0007-again.csv")
SECOND = FIRST.newer()
THIRD = SECOND.newer()
REFUSED = FIRST.newer(good_rows=1)


@dataclass
class State:
    """Table, bucket, ledger and mail, to be changed by a test."""

    rows: dict[tuple[str, int], Reading] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)

    def load(self, version: FileVersion) -> None:
        """What a load does when all is well."""
        status, prefix, rejects = (
            ("refused", "refused/", "refused/") if version.is_refused else ("archived", "processed/", "rejects/")
        )
        home = f"{prefix}{version.revision}.{version.name}"
        self.write(version.readings)
        self.objects |= {home: version.content, f"{rejects}{version.revision}.{version.name}.rejects.csv": b"rejects"}
        self.enter(
            version,
            status=status,
            archived_to=f"s3://bucket/{home}",
            rejects_at=f"s3://bucket/{rejects}{version.revision}.{version.name}.rejects.csv",
        )
        result = "refused" if version.is_refused else f"{len(version.readings)} rows loaded, 2 rejected"
        self.mails.append(
            f"2 files\n{version.name}: {result}\n  line 42: {version.mark} (field_count)\n\nothers.csv: …"
        )

    def write(self, rows: set[Reading]) -> None:
        self.rows |= {(sensor, second): (sensor, second, value) for sensor, second, value in rows}

    def enter(self, version: FileVersion, **attributes: object) -> None:
        outcome = version.outcome
        counts: Mapping[str, Any] = {
            "lines": outcome.lines,
            "accepted": len(outcome.readings),
            "replaced": outcome.good - len(outcome.readings),
            "rejected": len(outcome.rejects),
        }
        item = {"file": f"bucket/{version.key}", "version": f"v{version.revision}", "etag": version.etag}
        self.entries.append(Entry({**item, **counts, **attributes}, frozenset({"the email's run"})))

    def problems(self, *versions: FileVersion, mails_at_most: int = 1) -> list[str]:
        readings = {FIRST.sensor_prefix: set(self.rows.values())}
        world = World(readings, set(self.objects), self.objects.__getitem__, self.entries, self.mails)
        return problems(versions, world, mails_at_most=mails_at_most)


def loaded(*versions: FileVersion) -> State:
    state = State()
    for version in versions:
        state.load(version)
    return state


def test_versions_of_a_file_have_most_keys_in_common_and_no_value() -> None:
    keys_of = [{(sensor, second) for sensor, second, _ in version.readings} for version in (FIRST, SECOND, THIRD)]
    assert [30, 30, 20] == [
        len(keys_of[0] & keys_of[1]),
        len(keys_of[1] & keys_of[2]),
        len(keys_of[0] & keys_of[2]),
    ]
    assert not FIRST.readings & SECOND.readings
    assert REFUSED.is_refused
    assert not FIRST.is_refused


@pytest.mark.parametrize(
    "versions", [(FIRST,), (FIRST, SECOND), (FIRST, SECOND, THIRD), (FIRST, REFUSED)], ids=["one", "two", "three", "no"]
)
def test_versions_that_were_loaded_one_after_the_other_are_as_they_should_be(versions: tuple[FileVersion, ...]) -> None:
    assert [] == loaded(*versions).problems(*versions)


def test_a_version_that_was_never_loaded_may_be_superseded_or_unknown() -> None:
    state = loaded(SECOND)
    assert [] == state.problems(FIRST, SECOND)
    state.enter(FIRST, status="superseded")
    assert [] == state.problems(FIRST, SECOND)


def test_rows_that_only_a_superseded_version_has_may_stand_but_need_its_entry() -> None:
    state = loaded(SECOND)
    seconds = {second for _, second, _ in SECOND.readings}
    state.write({row for row in FIRST.readings if row[1] not in seconds})
    assert ["0007-again.csv version 1 has rows in the table, but no entry in the ledger"] == state.problems(
        FIRST, SECOND
    )
    state.enter(FIRST, status="superseded")
    assert [] == state.problems(FIRST, SECOND)


def test_a_superseded_version_may_have_overwritten_an_older_one_where_no_newer_one_has_rows() -> None:
    state = loaded(FIRST)
    state.write(SECOND.readings)
    state.enter(SECOND, status="superseded")
    state.load(THIRD)
    assert [] == state.problems(FIRST, SECOND, THIRD)


def test_a_copy_of_a_superseded_version_may_stay() -> None:
    state = loaded(SECOND)
    state.enter(FIRST, status="superseded")
    state.objects[f"processed/late.{FIRST.name}"] = FIRST.content
    assert [] == state.problems(FIRST, SECOND)
    state.objects[f"processed/late.{FIRST.name}"] = b"else"
    assert [f"0007-again.csv is also at processed/late.{FIRST.name}"] == state.problems(FIRST, SECOND)


Change = Callable[[State], object]


def _write_first_again(state: State) -> None:
    state.write(FIRST.readings)


def _write_one_row_of_first_again(state: State) -> None:
    state.write({max(FIRST.readings)})


def _lose_a_row(state: State) -> None:
    del state.rows[next(iter(state.rows))]


def _invent_a_row(state: State) -> None:
    sensor, second, value = max(SECOND.readings)
    state.write({(sensor, second + 1000, value)})


def _change(number: int, **attributes: object) -> Change:
    def change(state: State) -> None:
        entry = state.entries[number]
        state.entries[number] = replace(entry, item={**entry.item, **attributes})

    return change


def _do_not_say_that_it_was_emailed(state: State) -> None:
    state.entries[1] = replace(state.entries[1], emailed_by=frozenset())


def _damage_the_archive(state: State) -> None:
    state.objects[f"processed/2.{FIRST.name}"] = FIRST.content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_write_first_again, "the table has 0007-again.csv version 1 instead of 0007-again.csv version 2: 30 keys"),
        (_write_one_row_of_first_again, "the table has 0007-again.csv version 1 instead of 0007-again.csv version 2"),
        (_lose_a_row, "the table has no row instead of 0007-again.csv version"),
        (_invent_a_row, "the table has a row that no version has instead of no row"),
        (lambda state: state.entries.pop(0), "version 1 has rows in the table, but no entry"),
        (lambda state: state.entries.pop(1), "version 2, the newest, is not dealt with: no entry"),
        (lambda state: state.entries.append(state.entries[1]), "version 2 has several entries"),
        (_change(1, status="loading"), "version 2, the newest, is not dealt with: status loading"),
        (_change(1, status="superseded"), "version 2, the newest, is not dealt with: status superseded"),
        (_change(0, status="loading"), "version 1 is neither loaded nor superseded"),
        (_change(0, status="failed"), "version 1 is neither loaded nor superseded"),
        (_change(1, status="missing"), "version 2, the newest, is not dealt with: status missing"),
        (_change(1, accepted=3), "version 2: the counts in the ledger are (43, 0, 0, 3, 1, 2)"),
        (_change(1, etag="f00"), "has an entry of a version that was never dropped"),
        (_change(1, rejects_at=None), "version 2: its rejects are not stored"),
        (_do_not_say_that_it_was_emailed, "version 2: the ledger does not say that it was emailed"),
        (_damage_the_archive, f"version 2: the bytes at processed/2.{FIRST.name} differ"),
        (lambda state: state.objects.pop(f"processed/2.{FIRST.name}"), "is not at {'processed/2.0007-again.csv'}"),
        (lambda state: state.objects.update({SECOND.key: b""}), "is still at {'incoming/0007-again.csv'}"),
        (lambda state: state.mails.pop(), "version 2: 0 emails say what became of it, not 1 to 1"),
        (lambda state: state.mails.append(state.mails[0]), "version 1: 2 emails say what became of it, not 1 to 1"),
    ],
)
def test_each_fault_is_seen(change: Change, said: str) -> None:
    state = loaded(FIRST, SECOND)
    change(state)
    assert said in "\n".join(state.problems(FIRST, SECOND))


def test_a_refused_version_leaves_the_rows_of_the_one_before() -> None:
    state = loaded(FIRST, REFUSED)
    state.write({max(SECOND.readings)})
    assert "a row that no version has" in "\n".join(state.problems(FIRST, REFUSED))


def test_an_email_too_long_to_show_the_file_counts_if_it_names_the_run() -> None:
    state = loaded(FIRST)
    state.mails = ["60 files\n… 10 more files are not shown here\n\nhttp://127.0.0.1/runs/flow-run/abc"]
    assert ["0007-again.csv version 1: 0 emails say what became of it, not 1 to 1"] == state.problems(FIRST)
    entry = state.entries[0]
    state.entries = [replace(entry, item={**entry.item, "flow_run_id": "abc"})]  # the run that has loaded it
    assert [] == state.problems(FIRST)
    state.entries = [replace(entry, emailed_by=frozenset({"abc"}))]  # of a run that died, another run has sent it
    assert [] == state.problems(FIRST)
