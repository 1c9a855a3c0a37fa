"""What a sweep takes up, and what it leaves to those who are at it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.domain.models import LedgerEntry, SensorFile
from flows.recovery.snapshot import RunUnderWay, Situation

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


def run(state: str, since: datetime, **known: Any) -> RunUnderWay:  # noqa: ANN401 - fields
    return RunUnderWay(**{"id": RUN, "name": "a.csv", "state": state, "since": since, "files": {FILE.uri}, **known})


def situation(**known: Any) -> Situation:  # noqa: ANN401 - fields
    nobody: dict[str, Any] = {"entries": [], "ingests": [], "emails": [], "ended": set()}
    return Situation(**{"now": NOW, "patience": PATIENCE, **nobody, **known})


def is_stranded(**known: Any) -> bool:  # noqa: ANN401 - fields
    return [FILE] == list(situation(**known).stranded([FILE]))


# ---- Files in incoming/ --------------------------------------------------------------------------------------------


def test_a_file_that_nobody_knows_is_stranded() -> None:
    assert is_stranded()


def test_a_file_on_which_a_run_holds_a_lease_is_in_hand() -> None:
    assert not is_stranded(entries=[entry(lease_until=SOON)])


def test_a_file_whose_lease_is_over_is_stranded() -> None:
    assert is_stranded(entries=[entry(lease_until=LONG_AGO)])


def test_a_file_on_which_a_run_holds_a_lease_that_has_ended_is_stranded() -> None:
    assert is_stranded(entries=[entry(lease_until=SOON)], ended={RUN})


def test_a_file_that_was_dealt_with_and_is_still_there_is_stranded() -> None:
    assert is_stranded(entries=[entry(status="archived", finished_at=LONG_AGO)])


def test_a_file_in_a_run_that_waits_for_a_worker_or_a_slot_is_in_hand_however_long_it_waits() -> None:
    assert not is_stranded(ingests=[run("SCHEDULED", LONG_AGO)])


def test_a_file_whose_turn_in_a_long_run_has_not_come_yet_is_in_hand() -> None:
    of_another_file = entry(key="incoming/b.csv", lease_until=SOON)
    assert not is_stranded(ingests=[run("RUNNING", LONG_AGO)], entries=[of_another_file])


def test_a_file_in_a_run_that_settled_another_one_just_now_is_in_hand() -> None:
    of_another_file = entry(key="incoming/b.csv", status="archived", finished_at=JUST_NOW)
    assert not is_stranded(ingests=[run("RUNNING", LONG_AGO)], entries=[of_another_file])


def test_a_file_in_a_run_that_has_just_begun_is_in_hand() -> None:
    assert not is_stranded(ingests=[run("RUNNING", JUST_NOW)])


def test_a_file_in_a_run_that_gives_no_sign_of_life_is_stranded() -> None:
    assert is_stranded(ingests=[run("RUNNING", LONG_AGO)])
    assert is_stranded(ingests=[run("PENDING", LONG_AGO)])


@pytest.mark.parametrize(("in_vain", "minutes"), [(1, 15), (2, 30), (3, 60), (9, 60)])
def test_a_file_that_aws_refused_rests_for_longer_each_time_up_to_an_hour(in_vain: int, minutes: int) -> None:
    def refused(minutes_ago: float) -> LedgerEntry:
        claimed_at = NOW - timedelta(minutes=minutes_ago)
        return entry(claimed_at=claimed_at, lease_until=claimed_at, attempts=2, tries=2 + in_vain)

    assert not is_stranded(entries=[refused(minutes - 1)])
    assert is_stranded(entries=[refused(minutes + 1)])


def test_a_file_that_failed_by_its_own_fault_or_landed_again_does_not_rest() -> None:
    assert is_stranded(entries=[entry(claimed_at=JUST_NOW, lease_until=JUST_NOW, attempts=3, tries=3)])
    assert is_stranded(entries=[entry(claimed_at=JUST_NOW, status="archived", attempts=1, tries=3)])


def test_a_version_that_replaced_one_that_rests_does_not_rest() -> None:
    assert is_stranded(entries=[entry(etag="e0", claimed_at=JUST_NOW, lease_until=JUST_NOW, attempts=1, tries=3)])


# ---- Leases of the dead --------------------------------------------------------------------------------------------


def test_a_lease_of_a_run_that_has_ended_was_left_behind() -> None:
    held = entry(lease_until=SOON)
    assert [held] == list(situation(entries=[held], ended={RUN}).left_behind())
    assert [] == list(situation(entries=[held]).left_behind())
    assert [] == list(situation(entries=[entry(lease_until=LONG_AGO)], ended={RUN}).left_behind())


def test_a_file_of_which_two_loads_have_failed_is_tried_alone() -> None:
    assert {FILE.uri} == situation(entries=[entry(attempts=2)]).suspects()
    assert set() == situation(entries=[entry(attempts=1)]).suspects()
    assert set() == situation(entries=[entry(status="archived", finished_at=LONG_AGO)]).suspects()


def test_an_entry_that_no_run_works_on_is_abandoned() -> None:
    free = entry(lease_until=LONG_AGO)
    assert [free] == list(situation(entries=[free]).abandoned())
    assert [] == list(situation(entries=[entry(lease_until=SOON)]).abandoned())
    assert [] == list(situation(entries=[free], ingests=[run("SCHEDULED", LONG_AGO)]).abandoned())


# ---- Emails --------------------------------------------------------------------------------------------------------

SETTLED = entry(status="archived", finished_at=LONG_AGO)


def test_a_pause_that_lasts_longer_than_its_wait_is_overdue() -> None:
    paused = run("PAUSED", LONG_AGO, wait=timedelta(minutes=10))
    assert [paused] == list(situation(emails=[paused]).overdue())


def test_a_pause_whose_wait_is_not_over_or_not_known_is_left_alone() -> None:
    waiting = run("PAUSED", LONG_AGO, wait=timedelta(minutes=60))
    just_over = run("PAUSED", NOW - timedelta(seconds=630), wait=timedelta(minutes=10))
    by_hand = run("PAUSED", LONG_AGO)
    assert [] == list(situation(emails=[waiting, just_over, by_hand]).overdue())


def test_a_result_that_nobody_was_told_of_is_told() -> None:
    assert [SETTLED] == list(situation(entries=[SETTLED], ended={RUN}).untold())


def test_a_result_is_not_told_while_its_run_is_alive_or_an_email_is_on_the_way() -> None:
    assert [] == list(situation(entries=[SETTLED], ingests=[run("RUNNING", JUST_NOW)]).untold())
    for state in ("PAUSED", "SCHEDULED"):
        assert [] == list(situation(entries=[SETTLED], emails=[run(state, LONG_AGO, id="email")]).untold())
    assert [] == list(situation(entries=[SETTLED], emails=[run("RUNNING", JUST_NOW, id="email")]).untold())


def test_a_result_is_told_though_an_email_seems_to_be_sent_by_a_run_that_died() -> None:
    assert [SETTLED] == list(situation(entries=[SETTLED], emails=[run("RUNNING", LONG_AGO, id="email")]).untold())


def test_a_result_that_is_new_is_left_to_the_run_that_has_it() -> None:
    assert [] == list(situation(entries=[entry(status="archived", finished_at=JUST_NOW)]).untold())
    assert [] == list(situation(entries=[entry(lease_until=LONG_AGO)]).untold())


# ---- Sweeps side by side ---------------------------------------------------------------------------------------------


def test_of_sweeps_side_by_side_the_oldest_does_the_work() -> None:
    older, younger = run("RUNNING", JUST_NOW - timedelta(seconds=1)), run("RUNNING", JUST_NOW + timedelta(seconds=1))
    begun = {"begun": JUST_NOW}
    assert older == situation(sweeps=[younger, older], **begun).older_sweep()
    assert None is situation(sweeps=[younger], **begun).older_sweep()
    assert None is situation(sweeps=[older]).older_sweep(), "a person asked for this one"


def test_nothing_is_left_to_a_sweep_that_died_or_has_not_begun() -> None:
    assert None is situation(sweeps=[run("RUNNING", LONG_AGO)], begun=JUST_NOW).older_sweep()
    for state in ("SCHEDULED", "PENDING"):
        assert None is situation(sweeps=[run(state, LONG_AGO)], begun=JUST_NOW).older_sweep()


# ---- Runs whose process is gone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ingests", "emails", "sweeps"])
@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
def test_a_run_that_should_have_a_process_and_shows_nothing_is_dead(kind: str, state: str) -> None:
    assert [RUN] == [each.id for each in situation(**{kind: [run(state, LONG_AGO)]}).dead()]
    assert not list(situation(**{kind: [run(state, JUST_NOW)]}).dead())


@pytest.mark.parametrize("state", ["SCHEDULED", "PAUSED"])
def test_a_run_that_waits_for_its_turn_is_not_dead_however_long_it_waits(state: str) -> None:
    assert not list(situation(ingests=[run(state, LONG_AGO)], emails=[run(state, LONG_AGO)]).dead())


def test_a_run_that_renews_a_lease_or_has_just_settled_a_file_is_not_dead() -> None:
    running = [run("RUNNING", LONG_AGO)]
    assert not list(situation(ingests=running, entries=[entry(lease_until=SOON)]).dead())
    assert not list(situation(ingests=running, entries=[entry(status="archived", finished_at=JUST_NOW)]).dead())


def test_a_run_that_waits_in_its_own_process_for_its_email_is_not_dead() -> None:
    waits = run("PAUSED", LONG_AGO, id="run-2")
    assert not list(situation(ingests=[run("RUNNING", LONG_AGO)], emails=[waits]).dead())
