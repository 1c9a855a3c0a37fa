"""Writing again what late rows may have come over."""

import pytest

from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import ALL_VERSIONS
from blocks.file_ledger.holding import HeldClaim
from tests.blocks.ledger_entries import (
    FILE,
    claim_now,
    elsewhere,
    holder,
    load,
    lose,
    own,
    pass_time,
    put_raw,
    release,
    seconds_until,
    version,
)

V2, V3 = version("v2"), version("v3")


def own_reload(file_ledger: FileLedger, claim_id: str = "r1") -> tuple[HeldClaim, list[str]]:
    pass_time(file_ledger, 3)  # the bounds of the table's clock are a second or two apart
    found = file_ledger.claim_reload("landing", FILE.key, claim_id, f"run of {claim_id}")
    assert found
    held, entries = found
    return held, [entry.version for entry in entries]


def overtake(file_ledger: FileLedger) -> None:
    """v0 and v9 are loaded, v1 is overtaken by v3, then v2 is loaded too."""
    load(file_ledger, version("v0"))
    load(file_ledger, version("v9"))
    lost = own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, V3, claim_id="c2")
    load(file_ledger, V2, claim_id="c3")
    file_ledger.record_lost_claim(lost.held)


def test_versions_loaded_after_the_late_epoch_are_written_again_in_the_order_of_their_epochs(
    file_ledger: FileLedger,
) -> None:
    overtake(file_ledger)
    held, versions = own_reload(file_ledger)
    assert ["v3", "v2"] == versions
    assert ("r1", 6, ALL_VERSIONS) == holder(held)
    elsewhere(file_ledger, version("v4"))
    assert file_ledger.claim_reload("landing", FILE.key, "r2", "a run") is None


def test_a_reload_is_made_once_more_when_no_row_can_arrive_any_more(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    assert not file_ledger.end_reload(own_reload(file_ledger)[0])
    claim = claim_now(file_ledger)
    assert claim.reload_at == claim.next_try_at == claim.late_until
    assert file_ledger.claim_reload("landing", FILE.key, "r2", "a run") is None, "not due yet"
    pass_time(file_ledger, 605)
    held, versions = own_reload(file_ledger, "r3")
    assert ["v3", "v2"] == versions
    assert not file_ledger.end_reload(held)
    claim = claim_now(file_ledger)
    assert (None, None, None, None) == (claim.reload_at, claim.next_try_at, claim.late_epoch, claim.late_until)


def test_a_takeover_is_followed_by_a_reload_when_no_row_can_arrive_any_more(file_ledger: FileLedger) -> None:
    own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, V2, claim_id="c2")
    claim = claim_now(file_ledger)
    assert claim.reload_at == claim.next_try_at == claim.late_until
    pass_time(file_ledger, 590)
    assert file_ledger.claim_reload("landing", FILE.key, "r1", "a run") is None
    pass_time(file_ledger, 15)
    assert ["v2"] == own_reload(file_ledger)[1]


def test_a_reload_with_rows_without_an_answer_writes_the_same_versions_once_more(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    pass_time(file_ledger, 605)
    held, _ = own_reload(file_ledger)
    assert not file_ledger.end_reload(held, unanswered=True)
    assert claim_now(file_ledger).next_try_at == claim_now(file_ledger).late_until
    pass_time(file_ledger, 605)
    assert ["v3", "v2"] == own_reload(file_ledger)[1]


def test_a_reload_that_died_is_made_again(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    own_reload(file_ledger)
    pass_time(file_ledger, 65)
    assert [FILE.key] == [due.claim.key for due in file_ledger.due_files()]
    assert ["v3", "v2"] == own_reload(file_ledger, "r2")[1]


def test_a_reload_that_failed_has_a_back_off(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    held, _ = own_reload(file_ledger)
    file_ledger.release(held, None, "no", unanswered=True)
    assert 3 < seconds_until(file_ledger, (claim := claim_now(file_ledger)).next_try_at) < 13
    assert claim.next_try_at == claim.reload_at
    pass_time(file_ledger, 14)
    assert ["v3", "v2"] == own_reload(file_ledger, "r2")[1]


def test_nothing_is_written_again_where_only_the_version_of_the_late_rows_was_loaded(file_ledger: FileLedger) -> None:
    lost = own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, FILE, claim_id="c2")
    file_ledger.record_lost_claim(lost.held)
    held, versions = own_reload(file_ledger)
    assert [] == versions
    assert not file_ledger.end_reload(held)


def test_a_version_that_waits_is_not_lost_in_a_reload(file_ledger: FileLedger) -> None:
    """The load of v2 failed while rows of v1, which was overtaken, may still arrive."""
    lost = lose(file_ledger)
    pass_time(file_ledger, 65)
    release(file_ledger, own(file_ledger, V2, "c3"))
    file_ledger.record_lost_claim(lost.held)
    held, versions = own_reload(file_ledger)
    assert ([], ("v2",)) == (versions, held.claim.unsettled)
    assert file_ledger.end_reload(held)
    pass_time(file_ledger, 65)
    assert [("v2",)] == [due.claim.unsettled for due in file_ledger.due_files()]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_without_late_rows_no_reload_is_due(file_ledger: FileLedger, seconds: int) -> None:
    load(file_ledger)
    load(file_ledger, V2)
    pass_time(file_ledger, seconds)
    assert file_ledger.claim_reload("landing", FILE.key, "r1", "a run") is None
    assert file_ledger.claim_reload("landing", "incoming/never.csv", "r1", "a run") is None


def test_an_entry_that_somebody_else_broke_keeps_no_other_version_from_being_written_again(
    file_ledger: FileLedger,
) -> None:
    overtake(file_ledger)
    put_raw(file_ledger, file=f"landing/{FILE.key}", version="v7", bucket="landing", status="odd")
    assert ["v3", "v2"] == own_reload(file_ledger)[1]


def test_a_reload_stays_due_when_the_key_is_closed(file_ledger: FileLedger) -> None:
    overtake(file_ledger)
    assert [] == file_ledger.close(FILE, lambda entry: entry, "c9")
    assert claim_now(file_ledger).next_try_at == claim_now(file_ledger).reload_at
