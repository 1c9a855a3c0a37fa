"""The page of the fault tests: what was measured is what it says."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.faults.dropped_files import FileVersion
from tests.faults.ledger_items import Entry, LedgerItems
from tests.faults.recovery import NEVER, Recovery, Watch
from tests.faults.report import Case, write_report

FILES = [FileVersion(number, f"{number:04d}.csv") for number in range(1, 11)]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_times_are_written_with_the_share_of_files_that_was_late(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- matrix: written by make test-faults -->\nold\n<!-- end of matrix -->\nb\n"
        "<!-- recovery times: written by make test-faults -->\nold\n<!-- end of recovery times -->\nc\n"
    )
    loaded = dict(zip(FILES, [*map(float, range(10, 100, 10)), 130.0], strict=True))
    emailed = dict.fromkeys(FILES, 1.0) | {FILES[0]: NEVER}
    write_report([], [Recovery("kill", loaded, emailed).times], page)
    text = page.read_text()
    assert "| kill | loaded | 10 | 50 s | 90 s | 130 s | 1 | 0 |" in text
    assert "| kill | emailed | 10 | 1 s | 1 s | never | 1 | 1 |" in text
    assert ["a", "old", "b", "c"] == [line for line in text.splitlines() if line in {"a", "old", "b", "c"}]
    write_report([Case("kill", "copy", "kill -9 of", passed=True)], [], page)
    assert "1 cases, 1 combinations of fault and step; 1 passed." in page.read_text()
    assert "| kill | loaded |" in page.read_text()


def entry(file: FileVersion, *, is_emailed: bool = False, email: str = "one") -> Entry:
    item = {"file": f"bucket/{file.key}", "version": "v1", "etag": file.etag, "status": "archived", "email_id": email}
    return Entry(item, frozenset({"a run"} if is_emailed else ()))


def test_an_email_is_late_from_the_moment_that_the_last_of_its_files_is_loaded() -> None:
    one, two, three = FILES[:3]
    watch = Watch([one, two, three], notify_after_seconds=5, up_at=100)
    assert not watch.see([entry(one), entry(two, email="two")], {two.key}, 90)
    assert not watch.see([entry(one), entry(two, email="two")], set(), 110)
    assert not watch.see([entry(one, is_emailed=True), entry(two, is_emailed=True, email="two")], set(), 150)
    found = watch.result("kill")
    assert {one: 0, two: 10, three: NEVER} == found.loaded
    assert {one: 50, two: 35, three: NEVER} == found.emailed


def test_a_file_is_loaded_only_once_its_object_has_left() -> None:
    [one] = FILES[:1]
    watch = Watch([one], notify_after_seconds=0, up_at=0)
    assert not watch.see([entry(one, is_emailed=True)], {one.key}, 1)
    assert watch.see([entry(one, is_emailed=True)], set(), 2)


def items(*documents: Mapping[str, Any]) -> LedgerItems:
    return LedgerItems(tuple(documents))


def test_what_is_held_or_due_is_read_from_claims_and_emails() -> None:
    soon, past = (NOW + timedelta(seconds=5)).isoformat(), (NOW - timedelta(seconds=5)).isoformat()
    found = items(
        {"file": "b/held", "version": "#claim", "claim_id": "c", "lease_until": soon},
        {"file": "b/released", "version": "#claim", "lease_until": soon},
        {"file": "b/expired", "version": "#claim", "claim_id": "c", "lease_until": past, "waits_for": "load"}
        | {"next_try_at": past},
        {"file": "#email/1", "version": "#email", "state": "waiting", "waits_for": "email", "next_try_at": soon},
    )
    assert ["b/held"] == found.held(NOW)
    assert ["b/expired", "#email/1"] == found.due(NOW, timedelta(seconds=20))
    assert ["b/expired"] == found.due(NOW, timedelta(seconds=1))


def test_an_entry_is_emailed_once_an_email_about_it_is_sent() -> None:
    names = {"file": "b/incoming/a.csv", "bucket": "b", "key": "incoming/a.csv"}
    first, second = names | {"version": "1"}, names | {"version": "2"}
    email = {"file": "#email/1", "version": "#email", "state": "waiting", "files": [["b", "incoming/a.csv", "1"]]}
    assert [False, False] == [entry.is_emailed for entry in items(first, second, email).entries]
    sent = email | {"state": "sent"}
    assert [True, False] == [entry.is_emailed for entry in items(first, second, sent).entries]
