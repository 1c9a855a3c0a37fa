"""Who may load a version of a file."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from blocks.domain.errors import ClaimedElsewhereError
from blocks.domain.models import FileStatus, StoredFile
from blocks.file_ledger import FileLedger
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import ANOTHER_RUN, FILE, RUN, expired, finished

# ---- Who may load -------------------------------------------------------------------------------------------------


def test_a_version_that_was_never_claimed_is_given_to_who_asks(file_ledger: FileLedger) -> None:
    entry = file_ledger.claim(FILE, RUN)
    assert ("landing", FILE.key, "v1", "loading", RUN) == (
        entry.bucket,
        entry.key,
        entry.version,
        entry.status,
        entry.flow_run_id,
    )


def test_a_claim_holds_for_as_long_as_the_block_says(file_ledger: FileLedger) -> None:
    entry = file_ledger.model_copy(update={"lease_seconds": 60}).claim(FILE, RUN)
    assert entry.claimed_at + timedelta(seconds=60) == entry.lease_until


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_a_version_that_another_run_is_loading_is_refused_naming_run_and_lease(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    file_ledger.record(file_ledger.claim(FILE, RUN).model_copy(update={"status": status}))
    [standing] = file_ledger.entries_of("landing", FILE.key)
    with pytest.raises(ClaimedElsewhereError, match=re.escape(f"{RUN}, which holds it until {standing.lease_until}")):
        file_ledger.claim(FILE, ANOTHER_RUN)
    assert [standing] == file_ledger.entries_of("landing", FILE.key)


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_a_version_whose_lease_is_over_is_taken_over(file_ledger: FileLedger, status: FileStatus) -> None:
    short = expired(file_ledger)
    short.record(short.claim(FILE, RUN).model_copy(update={"status": status}))
    entry = file_ledger.claim(FILE, ANOTHER_RUN)
    assert ("loading", ANOTHER_RUN) == (entry.status, entry.flow_run_id)


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_a_run_that_begins_again_gets_what_it_holds_already(file_ledger: FileLedger, status: FileStatus) -> None:
    file_ledger.record(file_ledger.claim(FILE, RUN).model_copy(update={"status": status}))
    assert "loading" == file_ledger.claim(FILE, RUN).status


@pytest.mark.parametrize("run", [RUN, ANOTHER_RUN])
@pytest.mark.parametrize("status", ["archived", "refused"])
def test_a_version_that_was_dealt_with_is_given_to_nobody_and_its_entry_comes_back_as_it_stands(
    file_ledger: FileLedger, status: FileStatus, run: str
) -> None:
    entry = finished(expired(file_ledger).claim(FILE, RUN), status)
    file_ledger.record(entry)
    assert entry.model_dump_json() == file_ledger.claim(FILE, run).model_dump_json()
    assert 1 == len(file_ledger.entries_of("landing", FILE.key))


@pytest.mark.parametrize("other", [{"key": "incoming/b.csv"}, {"bucket": "another"}])
def test_another_key_or_bucket_is_another_claim(file_ledger: FileLedger, other: dict[str, str]) -> None:
    file_ledger.claim(FILE, RUN)
    assert "loading" == file_ledger.claim(FILE.model_copy(update=other), ANOTHER_RUN).status


ANOTHER_VERSION = pytest.mark.parametrize(
    "other", [FILE.model_copy(update={"version_id": version, "etag": "e2"}) for version in ("v2", None)]
)


@ANOTHER_VERSION
@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_while_a_run_loads_a_version_nobody_loads_another_over_it(
    file_ledger: FileLedger, other: StoredFile, status: FileStatus
) -> None:
    entry = file_ledger.claim(FILE, RUN).model_copy(update={"status": status})
    file_ledger.record(entry)
    with pytest.raises(ClaimedElsewhereError, match=RUN):
        file_ledger.claim(other, ANOTHER_RUN)
    archived = finished(entry, "archived").model_copy(update={"version": other.version})
    with pytest.raises(ClaimedElsewhereError, match=RUN):
        file_ledger.claim_again(archived, ANOTHER_RUN)
    file_ledger.record(finished(entry, "archived"))
    assert "loading" == file_ledger.claim(other, ANOTHER_RUN).status


@ANOTHER_VERSION
def test_a_version_that_nobody_holds_any_more_keeps_no_other_from_being_loaded(
    file_ledger: FileLedger, other: StoredFile
) -> None:
    expired(file_ledger).claim(FILE, RUN)
    assert "loading" == file_ledger.claim(other, ANOTHER_RUN).status


def test_an_index_that_lags_behind_the_table_keeps_no_version_from_being_loaded(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    earlier = file_ledger.claim(FILE, RUN)
    with dynamodb_line.before("GetItem", lambda: file_ledger.record(finished(earlier, "archived"))):
        entry = file_ledger.claim(FILE.model_copy(update={"version_id": "v2"}), ANOTHER_RUN)
    assert ("v2", "loading", ANOTHER_RUN) == (entry.version, entry.status, entry.flow_run_id)


def test_a_run_that_begins_again_is_not_kept_from_a_version_by_its_own_lease_on_another(
    file_ledger: FileLedger,
) -> None:
    file_ledger.claim(FILE, RUN)
    assert "loading" == file_ledger.claim(FILE.model_copy(update={"version_id": "v2"}), RUN).status


def test_a_version_that_was_given_back_keeps_no_other_from_being_loaded(file_ledger: FileLedger) -> None:
    file_ledger.release(file_ledger.claim(FILE, RUN))
    assert "loading" == file_ledger.claim(FILE.model_copy(update={"version_id": "v2"}), ANOTHER_RUN).status


@pytest.mark.parametrize("status", ["archived", "refused", "failed", "missing", "superseded"])
def test_the_same_content_that_lands_again_where_there_are_no_versions_is_given_out_again(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    settled = finished(file_ledger.claim(FILE, RUN), status)
    file_ledger.record(settled)
    assert settled.finished_at
    later = FILE.model_copy(update={"landed_at": settled.finished_at + timedelta(seconds=1)})
    entry = file_ledger.claim(later, ANOTHER_RUN)
    assert ("loading", ANOTHER_RUN, 1) == (entry.status, entry.flow_run_id, entry.attempts)


@pytest.mark.parametrize("status", ["missing", "superseded"])
def test_a_version_that_was_given_up_as_gone_and_is_back_is_given_out_again(
    file_ledger: FileLedger, status: FileStatus
) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), status))
    back = file_ledger.claim(FILE, ANOTHER_RUN)
    assert ("loading", ANOTHER_RUN) == (back.status, back.flow_run_id)
    with pytest.raises(ClaimedElsewhereError):
        file_ledger.claim(FILE, RUN)


def test_on_purpose_a_version_that_was_dealt_with_is_given_out_again(file_ledger: FileLedger) -> None:
    file_ledger.record(finished(file_ledger.claim(FILE, RUN), "archived"))
    assert "loading" == file_ledger.claim(FILE, ANOTHER_RUN, again=True).status


def test_not_even_on_purpose_is_a_version_given_out_that_another_run_is_loading(file_ledger: FileLedger) -> None:
    file_ledger.claim(FILE, RUN)
    with pytest.raises(ClaimedElsewhereError):
        file_ledger.claim(FILE, ANOTHER_RUN, again=True)


# ---- How long it is held -------------------------------------------------------------------------------------------


def test_a_lease_that_is_renewed_holds_from_then_on(file_ledger: FileLedger) -> None:
    entry = file_ledger.model_copy(update={"lease_seconds": 5}).claim(FILE, RUN)
    assert file_ledger.renew(entry)
    [renewed] = file_ledger.entries_of("landing", FILE.key)
    assert renewed.lease_until
    assert renewed.lease_until > entry.claimed_at + timedelta(seconds=800)


def test_what_is_noted_on_the_way_holds_the_file_on(file_ledger: FileLedger) -> None:
    long_ago = expired(file_ledger).claim(FILE, RUN)
    file_ledger.record(long_ago.model_copy(update={"status": "loaded"}))
    with pytest.raises(ClaimedElsewhereError):
        file_ledger.claim(FILE, ANOTHER_RUN)


def test_a_lease_that_another_run_has_taken_over_can_not_be_renewed(file_ledger: FileLedger) -> None:
    too_slow = expired(file_ledger).claim(FILE, RUN)
    file_ledger.claim(FILE, ANOTHER_RUN)
    before = file_ledger.entries_of("landing", FILE.key)
    assert not file_ledger.renew(too_slow)
    assert before == file_ledger.entries_of("landing", FILE.key)


def test_nothing_is_renewed_once_the_file_is_settled(file_ledger: FileLedger) -> None:
    entry = file_ledger.claim(FILE, RUN)
    file_ledger.record(finished(entry, "archived"))
    assert not file_ledger.renew(entry)


# ---- How often it was tried ----------------------------------------------------------------------------------------


def test_loads_that_fail_are_counted_with_the_last_reason(file_ledger: FileLedger) -> None:
    for attempt in (1, 2, 3):
        entry = file_ledger.claim(FILE, RUN)
        assert attempt == entry.attempts
        file_ledger.release(entry, f"reason {attempt}")
    assert (4, "reason 3") == ((last := file_ledger.claim(FILE, RUN)).attempts, last.problem)


def test_loads_that_died_are_counted(file_ledger: FileLedger) -> None:
    assert [1, 2, 3] == [expired(file_ledger).claim(FILE, f"run-{n}").attempts for n in range(3)]


def test_loads_that_failed_through_no_fault_of_the_file_are_not_counted(file_ledger: FileLedger) -> None:
    for _ in range(3):
        entry = file_ledger.claim(FILE, RUN)
        file_ledger.release(entry, "AWS refused s3:GetObject", counts=False)
    entry = file_ledger.claim(FILE, RUN)
    assert (1, 4) == (entry.attempts, entry.tries)
    file_ledger.release(entry, "its own fault")
    entry = file_ledger.claim(FILE, RUN)
    assert (2, 2) == (entry.attempts, entry.tries), "what AWS failed of before makes nobody wait now"


# ---- Answers that are lost -----------------------------------------------------------------------------------------


def test_a_claim_whose_answer_is_lost_is_this_runs_and_counted_once(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    with dynamodb_line.sent_twice("PutItem"):
        first = file_ledger.claim(FILE, RUN)
        file_ledger.record(finished(first, "archived"))
        again = file_ledger.claim(FILE, ANOTHER_RUN, again=True)
    for run, entry in {RUN: first, ANOTHER_RUN: again}.items():
        assert ("loading", run, 1, 1) == (entry.status, entry.flow_run_id, entry.attempts, entry.tries)


def test_a_lease_that_is_given_back_twice_is_counted_once(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    with dynamodb_line.sent_twice("UpdateItem"):
        file_ledger.release(file_ledger.claim(FILE, RUN), "AWS refused s3:GetObject", counts=False)
    [entry] = file_ledger.entries_of("landing", FILE.key)
    assert (0, 1) == (entry.attempts, entry.tries)


# ---- Many at once --------------------------------------------------------------------------------------------------


def test_of_many_runs_that_claim_at_once_exactly_one_gets_it(file_ledger: FileLedger) -> None:
    runs = 16
    together = Barrier(runs)

    def claim(number: int) -> str | None:
        together.wait()
        try:
            return file_ledger.claim(FILE, f"run-{number}").flow_run_id
        except ClaimedElsewhereError:
            return None

    with ThreadPoolExecutor(runs) as pool:
        claimed = [run for run in pool.map(claim, range(runs)) if run]
    assert claimed == [entry.flow_run_id for entry in file_ledger.entries_of("landing", FILE.key)]


def test_of_many_runs_that_take_over_at_once_exactly_one_gets_it(file_ledger: FileLedger) -> None:
    expired(file_ledger).claim(FILE, "run-that-died")
    test_of_many_runs_that_claim_at_once_exactly_one_gets_it(file_ledger)


# ---- What a run gives back -----------------------------------------------------------------------------------------


def test_what_a_run_could_not_load_is_given_to_the_next_at_once(file_ledger: FileLedger) -> None:
    file_ledger.release(file_ledger.claim(FILE, RUN))
    assert ANOTHER_RUN == file_ledger.claim(FILE, ANOTHER_RUN).flow_run_id


def test_a_run_can_not_give_back_what_another_has_taken_over(file_ledger: FileLedger) -> None:
    too_slow = expired(file_ledger).claim(FILE, RUN)
    file_ledger.claim(FILE, ANOTHER_RUN)
    file_ledger.release(too_slow)
    with pytest.raises(ClaimedElsewhereError, match=ANOTHER_RUN):
        file_ledger.claim(FILE, RUN)


@pytest.mark.parametrize("settled_by", [RUN, ANOTHER_RUN])
def test_a_run_can_not_give_back_what_is_settled(file_ledger: FileLedger, settled_by: str) -> None:
    entry = expired(file_ledger).claim(FILE, RUN)
    file_ledger.record(finished(file_ledger.claim(FILE, settled_by), "archived"))
    file_ledger.release(entry)
    assert ["archived"] == [each.status for each in file_ledger.entries_of("landing", FILE.key)]
