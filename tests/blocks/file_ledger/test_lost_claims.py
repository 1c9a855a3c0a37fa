"""What a run that has lost its claim may not do."""

from collections.abc import Callable

import pytest

from blocks.domain.errors import LeaseLostError
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned
from tests.blocks.ledger_entries import (
    V2,
    claim_now,
    elsewhere,
    load,
    lose,
    own,
    pass_time,
    release,
    seconds_until,
    settle,
    statuses,
)


def end(ledger: FileLedger, owned: Owned) -> None:
    ledger.end_claim(owned.held)


def end_reload(ledger: FileLedger, owned: Owned) -> None:
    ledger.end_reload(owned.held)


@pytest.mark.parametrize("act", [settle, release, end, end_reload])
def test_a_run_that_has_lost_its_claim_changes_nothing(
    file_ledger: FileLedger, act: Callable[[FileLedger, Owned], None]
) -> None:
    lost = lose(file_ledger)
    before, entries = claim_now(file_ledger), statuses(file_ledger)
    with pytest.raises(LeaseLostError, match="landing/incoming/a b"):
        act(file_ledger, lost)
    assert (before, entries) == (claim_now(file_ledger), statuses(file_ledger))


@pytest.mark.parametrize("act", [settle, release, end])
def test_a_run_whose_claim_was_taken_over_and_ended_changes_nothing(
    file_ledger: FileLedger, act: Callable[[FileLedger, Owned], None]
) -> None:
    lost = own(file_ledger)
    pass_time(file_ledger, 65)
    load(file_ledger, V2, claim_id="c2")
    with pytest.raises(LeaseLostError):
        act(file_ledger, lost)
    assert {"v1": "superseded", "v2": "archived"} == statuses(file_ledger)


@pytest.mark.parametrize("act", [end, end_reload])
def test_a_run_that_has_lost_its_claim_does_not_end_that_of_another(
    file_ledger: FileLedger, act: Callable[[FileLedger, Owned], None]
) -> None:
    owned = own(file_ledger)
    settle(file_ledger, owned)
    pass_time(file_ledger, 65)
    own(file_ledger, V2, "c2")
    before = claim_now(file_ledger)
    with pytest.raises(LeaseLostError):
        act(file_ledger, owned)
    assert before == claim_now(file_ledger)


def test_a_run_that_has_lost_its_claim_cannot_renew_it(file_ledger: FileLedger) -> None:
    lost = lose(file_ledger)
    before, asked_at = claim_now(file_ledger), lost.held.asked_at
    assert not file_ledger.renew(lost.held)
    assert before == claim_now(file_ledger)
    assert asked_at == lost.held.asked_at


def test_a_run_whose_lease_expired_goes_on_if_no_other_run_came(file_ledger: FileLedger) -> None:
    owned = own(file_ledger)
    pass_time(file_ledger, 3600)
    assert file_ledger.renew(owned.held)
    elsewhere(file_ledger)


def test_a_run_that_was_overtaken_has_what_was_loaded_since_written_again(file_ledger: FileLedger) -> None:
    lost = lose(file_ledger)
    file_ledger.record_lost_claim(lost.held)
    claim = claim_now(file_ledger)
    assert ("c2", 1, "v1") == (claim.claim_id, claim.late_epoch, claim.late_version)
    assert -3 < seconds_until(file_ledger, claim.reload_at) < 3


def test_a_run_that_still_holds_its_key_was_not_overtaken(file_ledger: FileLedger) -> None:
    held = own(file_ledger).held
    before = claim_now(file_ledger)
    file_ledger.record_lost_claim(held)
    assert before == claim_now(file_ledger)
