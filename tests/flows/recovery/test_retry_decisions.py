"""What a sweep takes up again, and what it leaves to live runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.domain.models import LedgerEntry, SensorFile
from flows.recovery.retry_decisions import (
    abandoned_entries,
    files_to_retry,
    older_sweep,
    orphaned_leases,
    overdue_emails,
    poison_files,
    stalled_runs,
    unnotified_entries,
)
from flows.recovery.snapshot import ActiveRun, RecoverySnapshot

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PATIENCE = timedelta(minutes=15)
LONG_AGO, JUST_NOW, SOON = NOW - timedelta(hours=1), NOW - timedelta(seconds=30), NOW + timedelta(minutes=5)
FILE = SensorFile(bucket="landing", key="incoming/a.csv", etag="e1")
RUN = "run-1"


def entry(**known: Any) -> LedgerEntry:  # noqa: ANN401 - fields
    file = {"bucket": "landing", "key": "incoming/a.csv", "version": "v1", "etag": "e1"}
    return LedgerEntry.model_validate(
        {**file, "status": "loading", "flow_run_id": RUN, "claimed_at": LONG_AGO, **known}
    )


def run(state: str, since: datetime, **known: Any) -> ActiveRun:  # noqa: ANN401 - fields
    return ActiveRun(**{"id": RUN, "name": "a.csv", "state": state, "since": since, "files": {FILE.uri}, **known})


def snapshot(**known: Any) -> RecoverySnapshot:  # noqa: ANN401 - fields
    nobody: dict[str, Any] = {"entries": [], "ingests": [], "emails": [], "ended": set()}
    return RecoverySnapshot(**{"now": NOW, "patience": PATIENCE, **nobody, **known})


def is_retried(**known: Any) -> bool:  # noqa: ANN401 - fields
    return [FILE] == list(files_to_retry(snapshot(**known), [FILE]))


# ---- Files in incoming/ --------------------------------------------------------------------------------------------


def test_a_file_without_a_ledger_entry_is_retried() -> None:
    assert is_retried()


def test_a_file_whose_lease_is_held_is_not_retried() -> None:
    assert not is_retried(entries=[entry(lease_until=SOON)])


def test_a_file_whose_lease_has_expired_is_retried() -> None:
    assert is_retried(entries=[entry(lease_until=LONG_AGO)])


def test_a_file_whose_lease_belongs_to_an_ended_run_is_retried() -> None:
    assert is_retried(entries=[entry(lease_until=SOON)], ended={RUN})


def test_a_settled_file_that_is_still_in_incoming_is_retried() -> None:
    assert is_retried(entries=[entry(status="archived", finished_at=LONG_AGO)])


def test_a_file_in_a_run_that_waits_for_a_worker_or_a_slot_is_not_retried_however_long_it_waits() -> None:
    assert not is_retried(ingests=[run("SCHEDULED", LONG_AGO)])


def test_a_file_whose_turn_in_a_long_run_has_not_come_yet_is_not_retried() -> None:
    of_another_file = entry(key="incoming/b.csv", lease_until=SOON)
    assert not is_retried(ingests=[run("RUNNING", LONG_AGO)], entries=[of_another_file])


def test_a_file_in_a_run_that_has_just_settled_another_file_is_not_retried() -> None:
    of_another_file = entry(key="incoming/b.csv", status="archived", finished_at=JUST_NOW)
    assert not is_retried(ingests=[run("RUNNING", LONG_AGO)], entries=[of_another_file])


def test_a_file_in_a_run_that_has_just_started_is_not_retried() -> None:
    assert not is_retried(ingests=[run("RUNNING", JUST_NOW)])


def test_a_file_in_a_run_without_a_sign_of_life_is_retried() -> None:
    assert is_retried(ingests=[run("RUNNING", LONG_AGO)])
    assert is_retried(ingests=[run("PENDING", LONG_AGO)])


@pytest.mark.parametrize(("refusals", "minutes"), [(1, 15), (2, 30), (3, 60), (9, 60), (10**30, 60)])
def test_the_back_off_of_a_file_that_aws_refused_doubles_up_to_an_hour(refusals: int, minutes: int) -> None:
    def refused(minutes_ago: float) -> LedgerEntry:
        claimed_at = NOW - timedelta(minutes=minutes_ago)
        return entry(claimed_at=claimed_at, lease_until=claimed_at, attempts=2, tries=2 + refusals)

    assert not is_retried(entries=[refused(minutes - 1)])
    assert is_retried(entries=[refused(minutes + 1)])


def test_a_file_that_failed_by_its_own_fault_or_landed_again_has_no_back_off() -> None:
    assert is_retried(entries=[entry(claimed_at=JUST_NOW, lease_until=JUST_NOW, attempts=3, tries=3)])
    assert is_retried(entries=[entry(claimed_at=JUST_NOW, status="archived", attempts=1, tries=3)])


def test_a_version_that_replaced_one_in_back_off_has_no_back_off() -> None:
    assert is_retried(entries=[entry(etag="e0", claimed_at=JUST_NOW, lease_until=JUST_NOW, attempts=1, tries=3)])


# ---- Orphaned leases ---------------------------------------------------------------------------------------------


def test_a_lease_of_a_run_that_has_ended_is_orphaned() -> None:
    held = entry(lease_until=SOON)
    assert [held] == list(orphaned_leases(snapshot(entries=[held], ended={RUN})))
    assert [] == list(orphaned_leases(snapshot(entries=[held])))
    assert [] == list(orphaned_leases(snapshot(entries=[entry(lease_until=LONG_AGO)], ended={RUN})))


def test_a_file_of_which_two_loads_have_failed_is_a_poison_file() -> None:
    assert {FILE.uri} == poison_files(snapshot(entries=[entry(attempts=2)]))
    assert set() == poison_files(snapshot(entries=[entry(attempts=1)]))
    assert set() == poison_files(snapshot(entries=[entry(status="archived", finished_at=LONG_AGO)]))


def test_an_entry_that_no_run_works_on_is_abandoned() -> None:
    free = entry(lease_until=LONG_AGO)
    assert [free] == list(abandoned_entries(snapshot(entries=[free])))
    assert [] == list(abandoned_entries(snapshot(entries=[entry(lease_until=SOON)])))
    assert [] == list(abandoned_entries(snapshot(entries=[free], ingests=[run("SCHEDULED", LONG_AGO)])))


# ---- Emails --------------------------------------------------------------------------------------------------------

SETTLED = entry(status="archived", finished_at=LONG_AGO)


def test_moments_and_waits_at_the_end_of_the_range_are_compared_without_an_error() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    settled, refused = entry(status="archived", finished_at=last), entry(claimed_at=last, attempts=0)
    paused, running = run("PAUSED", NOW, wait=timedelta.max), run("RUNNING", last)
    now = snapshot(entries=[settled, refused], emails=[paused, running])
    assert ([], [], []) == (list(unnotified_entries(now)), list(overdue_emails(now)), list(files_to_retry(now, [FILE])))


def test_a_pause_that_lasts_longer_than_its_wait_is_overdue() -> None:
    paused = run("PAUSED", LONG_AGO, wait=timedelta(minutes=10))
    assert [paused] == list(overdue_emails(snapshot(emails=[paused])))


def test_a_pause_whose_wait_is_not_over_or_not_known_is_not_overdue() -> None:
    waiting = run("PAUSED", LONG_AGO, wait=timedelta(minutes=60))
    just_over = run("PAUSED", NOW - timedelta(seconds=630), wait=timedelta(minutes=10))
    by_hand = run("PAUSED", LONG_AGO)
    assert [] == list(overdue_emails(snapshot(emails=[waiting, just_over, by_hand])))


def test_a_settled_entry_without_an_email_is_unnotified() -> None:
    assert [SETTLED] == list(unnotified_entries(snapshot(entries=[SETTLED], ended={RUN})))


def test_an_entry_is_not_unnotified_while_its_run_is_alive_or_an_email_is_scheduled() -> None:
    assert [] == list(unnotified_entries(snapshot(entries=[SETTLED], ingests=[run("RUNNING", JUST_NOW)])))
    for state in ("PAUSED", "SCHEDULED"):
        assert [] == list(unnotified_entries(snapshot(entries=[SETTLED], emails=[run(state, LONG_AGO, id="email")])))
    assert [] == list(unnotified_entries(snapshot(entries=[SETTLED], emails=[run("RUNNING", JUST_NOW, id="email")])))


def test_an_entry_whose_notify_run_is_stalled_is_unnotified() -> None:
    assert [SETTLED] == list(
        unnotified_entries(snapshot(entries=[SETTLED], emails=[run("RUNNING", LONG_AGO, id="email")]))
    )


def test_an_entry_that_was_just_settled_is_left_to_its_run() -> None:
    assert [] == list(unnotified_entries(snapshot(entries=[entry(status="archived", finished_at=JUST_NOW)])))
    assert [] == list(unnotified_entries(snapshot(entries=[entry(lease_until=LONG_AGO)])))


# ---- Sweeps side by side ---------------------------------------------------------------------------------------------


def test_of_concurrent_sweeps_the_oldest_does_the_work() -> None:
    older, younger = run("RUNNING", JUST_NOW - timedelta(seconds=1)), run("RUNNING", JUST_NOW + timedelta(seconds=1))
    started = {"started": JUST_NOW}
    assert older == older_sweep(snapshot(sweeps=[younger, older], **started))
    assert None is older_sweep(snapshot(sweeps=[younger], **started))
    assert None is older_sweep(snapshot(sweeps=[older])), "a person asked for this one"


def test_nothing_is_left_to_a_sweep_that_is_stalled_or_has_not_started() -> None:
    assert None is older_sweep(snapshot(sweeps=[run("RUNNING", LONG_AGO)], started=JUST_NOW))
    for state in ("SCHEDULED", "PENDING"):
        assert None is older_sweep(snapshot(sweeps=[run(state, LONG_AGO)], started=JUST_NOW))


# ---- Runs whose process is gone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ingests", "emails", "sweeps"])
@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
def test_a_run_that_should_have_a_process_and_shows_no_sign_of_life_is_stalled(kind: str, state: str) -> None:
    assert [RUN] == [each.id for each in stalled_runs(snapshot(**{kind: [run(state, LONG_AGO)]}))]
    assert not list(stalled_runs(snapshot(**{kind: [run(state, JUST_NOW)]})))


@pytest.mark.parametrize("state", ["SCHEDULED", "PAUSED"])
def test_a_run_that_waits_for_its_turn_is_not_stalled_however_long_it_waits(state: str) -> None:
    assert not list(stalled_runs(snapshot(ingests=[run(state, LONG_AGO)], emails=[run(state, LONG_AGO)])))


def test_a_run_that_renews_a_lease_or_has_just_settled_a_file_is_not_stalled() -> None:
    running = [run("RUNNING", LONG_AGO)]
    assert not list(stalled_runs(snapshot(ingests=running, entries=[entry(lease_until=SOON)])))
    assert not list(stalled_runs(snapshot(ingests=running, entries=[entry(status="archived", finished_at=JUST_NOW)])))


def test_a_run_that_waits_in_its_own_process_for_its_email_is_not_stalled() -> None:
    waits = run("PAUSED", LONG_AGO, id="run-2")
    assert not list(stalled_runs(snapshot(ingests=[run("RUNNING", LONG_AGO)], emails=[waits])))
