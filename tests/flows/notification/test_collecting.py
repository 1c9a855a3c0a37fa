"""The email of an ingest run: kept while it loads, and another one if the run was taken for dead."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from blocks.domain.models import FileReport, FileStatus, LedgerEntry, SensorFile
from blocks.file_ledger.emails import OutboxEmail, Version
from blocks.file_ledger.outbox import EMAIL_LEASE, ClaimedEmail
from blocks.runtime import Runtime, installed
from flows.notification import collecting
from flows.notification.collecting import EmailCollection, email_collected

FILES = [SensorFile(bucket="landing", key="incoming/a.csv")]


class Ledger:
    """Emails that another process may take from the run that collects for them."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self.collected: list[str] = []
        self.kept = 0
        self.made: dict[str, tuple[Version, ...]] = {}
        """The versions of the emails that another process has made."""

    def collect(self, email_id: str, *_: object) -> ClaimedEmail:
        self.collected.append(email_id)
        return ClaimedEmail(OutboxEmail(email_id), email_id, self._clock.now)

    def keep_email(self, claimed: ClaimedEmail) -> bool:
        self.kept += 1
        claimed.asked_at = self._clock.now
        return claimed.email.email_id not in self.made

    def emails(self, email_ids: Iterable[str]) -> dict[str, OutboxEmail]:
        return {each: OutboxEmail(each, files=self.made.get(each, ())) for each in email_ids}


class Clock(Runtime):
    """A monotonic clock that the test turns on; what is to be repeated is noted."""

    now = 1000.0

    def __init__(self) -> None:
        self.repeating: list[Callable[[], bool]] = []

    def monotonic(self) -> float:
        return self.now

    def flow_run_id(self) -> str:
        return "run"

    @contextmanager
    def repeated(self, action: Callable[[], bool], every_seconds: float, name: str) -> Iterator[None]:
        assert every_seconds < EMAIL_LEASE.total_seconds() / 2
        assert name
        self.repeating.append(action)
        yield


@pytest.fixture
def clock() -> Iterator[Clock]:
    with installed(clock := Clock()):
        yield clock


@pytest.fixture
def ledger(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger(clock)
    monkeypatch.setattr(collecting, "run_blocks", lambda: SimpleNamespace(file_ledger=ledger))
    return ledger


def report(version: str) -> FileReport:
    return FileReport(bucket="landing", key="incoming/a.csv", version=version, status="archived")


def entry(version: str, *, email_id: str, status: FileStatus) -> LedgerEntry:
    return LedgerEntry(
        bucket="landing",
        key="incoming/a.csv",
        version=version,
        status=status,
        email_id=email_id,
        claimed_at=datetime(2026, 11, 28, tzinfo=UTC),
    )


def taken(ledger: Ledger, email: EmailCollection, *versions: str) -> None:
    """Another process takes the run for dead, and makes its email with these versions."""
    ledger.made[email()] = tuple(("landing", "incoming/a.csv", version) for version in versions)


def test_the_email_is_kept_again_and_again_while_files_are_loaded(clock: Clock, ledger: Ledger) -> None:
    with email_collected(FILES, 60):
        [keep] = clock.repeating
        assert keep()
        assert 1 == ledger.kept


def test_an_email_that_is_made_is_kept_no_more_however_long_it_waits_in_this_process(
    clock: Clock, ledger: Ledger
) -> None:
    with email_collected(FILES, 60) as email:
        [keep] = clock.repeating
        assert keep()
        email.close()
        taken(ledger, email)
        assert not keep()
    assert 1 == ledger.kept
    assert ["run-0"] == ledger.collected


def test_an_email_that_was_not_kept_for_long_is_asked_about_before_a_version_names_it(
    clock: Clock, ledger: Ledger
) -> None:
    email = EmailCollection(FILES, 60)
    assert (email(), 0) == (ledger.collected[0], ledger.kept)
    clock.now += EMAIL_LEASE.total_seconds() - 1
    assert (email(), 1) == (ledger.collected[0], ledger.kept)


def test_a_run_that_was_taken_for_dead_collects_for_another_email(clock: Clock, ledger: Ledger) -> None:
    email = EmailCollection(FILES, 60)
    taken(ledger, email, "v1")
    clock.now += 100
    first, second = ledger.collected[0], email()
    assert first != second
    assert [first, second] == ledger.collected


def test_a_run_that_was_taken_for_dead_reports_nothing_twice(clock: Clock, ledger: Ledger) -> None:
    email = EmailCollection(FILES, 60)
    taken(ledger, email, "v1")
    clock.now += 100
    email()
    assert [report("v2")] == email.uncovered([report("v1"), report("v2")])


def test_a_version_that_is_settled_once_more_after_its_email_was_made_is_in_the_next_one(
    clock: Clock, ledger: Ledger
) -> None:
    """It was taken for replaced, by a run that had looked before it came; then it was loaded."""
    email = EmailCollection(FILES, 60)
    before = entry("v1", email_id=email(), status="superseded")
    taken(ledger, email, "v1")
    clock.now += 100
    loaded = entry("v1", email_id=email(), status="archived")
    assert [loaded] == email.uncovered([loaded])
    assert [] == email.uncovered([before])


def test_two_threads_that_find_the_email_taken_collect_for_one_new_email(
    clock: Clock, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is loaded in each thread, and another one renews the lease."""
    email, asks, goes_on, keep = EmailCollection(FILES, 60), Event(), Event(), ledger.keep_email
    first = email()
    taken(ledger, email)
    clock.now += 100

    def slow_at_first(claimed: ClaimedEmail) -> bool:
        if asks.is_set():
            return keep(claimed)
        asks.set()
        assert goes_on.wait(60)
        return False

    monkeypatch.setattr(ledger, "keep_email", slow_at_first)
    thread = Thread(target=email.keep)
    thread.start()
    assert asks.wait(60)
    named = email()  # by this thread, in an entry
    goes_on.set()
    thread.join()
    assert named == email()
    assert [first, named] == ledger.collected
