"""What a run that fails gives back, whether the file is blamed for it, and when a writer may not send any more."""

import errno
import logging
import pickle
import threading
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError
from prefect_aws.credentials import AwsCredentials

from blocks.domain.errors import ArchiveError, BlockInvalidError, BlockMissingError, DaskMissingError, LeaseLostError
from blocks.domain.models import HeldClaim, LedgerEntry
from blocks.file_ledger import FileLedger
from flows.loading import lease
from flows.loading.lease import Lease, lease_kept, renewing, shard_lease
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _without_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "get_run_logger", lambda: logging.getLogger("tests"))


ENTRY = LedgerEntry(
    bucket="landing",
    key="incoming/a.csv",
    version="v1",
    status="loading",
    claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("error", "blames_the_file"),
    [
        (ArchiveError("the copy is not whole"), True),
        (ValueError("what nobody thought of"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EMFILE, "Too many open files"), False),
        (TimeoutError("a scheduler does not answer"), False),
        (DaskMissingError(), False),
        (BlockInvalidError("sensor-landing-zone/sensor-ingest", ["bucket: too short"]), False),
        (BlockMissingError("sensor-landing-zone/sensor-ingest", "http://server"), False),
        (httpx.ConnectError("the Prefect server is away"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_what_the_file_may_have_caused_counts_against_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, blames_the_file: bool
) -> None:
    given_back: list[tuple[str, bool]] = []

    def release(_: FileLedger, __: LedgerEntry, problem: str, **asked: Any) -> None:  # noqa: ANN401 - keywords
        given_back.append((problem, asked["counts"]))

    monkeypatch.setattr(FileLedger, "release", release)
    ledger = FileLedger(credentials=AwsCredentials(), table_name="files")
    with pytest.raises(type(error)), lease_kept(ENTRY, ledger, monotonic()):
        raise error
    assert [(str(error), blames_the_file)] == given_back


# ---- The deadline ---------------------------------------------------------------------------------------------------

CLAIM: Final = HeldClaim(bucket="landing", key="incoming/a.csv", version="v1", claim_id="run-1")


class Clock:
    """A monotonic clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "monotonic", clock)
    return clock


def is_open(of: Lease) -> bool:
    try:
        of.fence()
    except LeaseLostError:
        return False
    return True


def test_a_lease_is_closed_until_a_claim_has_opened_it() -> None:
    assert not is_open(Lease(CLAIM, 60))


def test_a_lease_ends_five_seconds_before_its_sixty_are_over_counted_from_before_the_request(clock: Clock) -> None:
    held = Lease(CLAIM, 60)
    held.renewed(clock.now - 10)  # the answer took ten seconds
    clock.now += 44.9
    assert is_open(held)
    clock.now += 0.1
    with pytest.raises(LeaseLostError, match=r"s3://landing/incoming/a\.csv: .* not renewed in time"):
        held.fence()


def test_a_renewal_moves_the_deadline_and_a_late_answer_does_not_move_it_back(clock: Clock) -> None:
    held = Lease(CLAIM, 60)
    held.renewed(clock.now)
    held.renewed(clock.now - 30)
    clock.now += 54
    assert is_open(held)
    held.renewed(clock.now)
    clock.now += 54
    assert is_open(held)


def test_a_lost_claim_closes_the_lease_at_once_and_for_good(clock: Clock) -> None:
    held = Lease(CLAIM, 60)
    held.renewed(clock.now)
    held.lost("its claim is that of another run")
    held.renewed(clock.now)
    with pytest.raises(LeaseLostError, match="that of another run"):
        held.fence()


def test_a_lease_can_be_pickled_as_prefect_pickles_the_parameters_of_a_task() -> None:
    assert CLAIM == pickle.loads(pickle.dumps(Lease(CLAIM, 60))).claim  # noqa: S301 - our own


# ---- Renewals -------------------------------------------------------------------------------------------------------


YES, NO = True, False


class Ledger:
    """Answers renewals and reads from a list, then as its last answer says; an error is raised."""

    def __init__(self, lease_seconds: float, *answers: Any) -> None:  # noqa: ANN401 - what both methods return
        self.lease_seconds, self._answers, self.asked = lease_seconds, [*answers], 0

    def renew(self) -> bool:
        return bool(self._next())

    def lease_seconds_left(self, claim: HeldClaim) -> float | None:
        assert CLAIM == claim
        seconds: float | None = self._next()
        return seconds

    def _next(self) -> Any:  # noqa: ANN401 - as above
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def kept(ledger: Ledger, claimed_at: float) -> Lease:
    held = Lease(CLAIM, ledger.lease_seconds)
    held.renewed(claimed_at)
    return held


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lease on ")]


def test_a_lease_is_renewed_again_and_again_through_errors_until_the_block_ends() -> None:
    away = EndpointConnectionError(endpoint_url="http://ledger")
    ledger = Ledger(0.3, YES, away, YES)
    claimed_at = monotonic()
    held = kept(ledger, claimed_at)
    with renewing(held, ledger, claimed_at):
        eventually(lambda: ledger.asked > 6, 20, "more renewals than one lease takes")
        eventually(lambda: is_open(held), 20, "a lease")
    assert not is_open(held)
    assert [] == threads()


def test_a_renewal_that_is_due_when_the_block_begins_is_not_waited_for() -> None:
    ledger = Ledger(3_600, YES)
    claimed_at = monotonic() - 3_500
    held = kept(ledger, claimed_at)
    assert not is_open(held)
    with renewing(held, ledger, claimed_at):
        eventually(lambda: is_open(held), 20, "a renewal")


def test_a_renewed_lease_counts_from_before_the_request(clock: Clock) -> None:
    class SlowLedger(Ledger):
        def renew(self) -> bool:
            clock.now += 100  # the answer takes so long
            return super().renew()

    ledger, claimed_at = SlowLedger(3_600, YES), clock.now - 3_500
    held = kept(ledger, claimed_at)
    with renewing(held, ledger, claimed_at):
        eventually(lambda: is_open(held), 20, "a renewal")
        clock.now += 3_199.9  # of 3600 seconds, 300 are the margin
        assert is_open(held)
        clock.now += 0.1
        assert not is_open(held)


def test_a_renewal_that_is_refused_closes_the_lease_long_before_its_deadline() -> None:
    ledger = Ledger(3_600, NO)
    claimed_at = monotonic() - 1_300
    held = kept(ledger, claimed_at)
    with renewing(held, ledger, claimed_at):
        eventually(lambda: not is_open(held), 20, "the refusal")
        eventually(lambda: not threads(), 20, "the end of the thread")


def test_a_ledger_that_is_away_closes_the_lease_at_its_deadline() -> None:
    ledger = Ledger(0.3, EndpointConnectionError(endpoint_url="http://ledger"))
    claimed_at = monotonic()
    held = kept(ledger, claimed_at)
    with renewing(held, ledger, claimed_at):
        eventually(lambda: not is_open(held), 20, "the deadline")
    assert ledger.asked > 0


def test_a_load_that_fails_closes_its_lease_before_it_releases_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []
    leases: list[Lease] = []
    monkeypatch.setattr(FileLedger, "release", lambda *_, **__: seen.append(("released", is_open(leases[0]))))

    def fail() -> None:
        with lease_kept(ENTRY, FileLedger(credentials=AwsCredentials(), table_name="files"), monotonic()) as held:
            leases.append(held)
            seen.append(("begun", is_open(held)))
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert [("begun", True), ("released", False)] == seen


# ---- Shards ---------------------------------------------------------------------------------------------------------


def test_a_shard_may_send_as_long_as_the_lease_lasts_that_it_has_read(clock: Clock) -> None:
    class SlowLedger(Ledger):
        def lease_seconds_left(self, claim: HeldClaim) -> float | None:
            clock.now += 10 if not self.asked else 0  # the first answer takes ten seconds
            return super().lease_seconds_left(claim)

    with shard_lease(CLAIM, SlowLedger(60, 40.0, 0.0)) as held:
        clock.now += 24.9
        assert is_open(held)
        clock.now += 0.1
        assert not is_open(held)


@pytest.mark.parametrize("left", [None, -1.0, 0.0])
def test_a_shard_of_a_run_without_a_lease_does_not_begin(left: float | None) -> None:
    with pytest.raises(LeaseLostError), shard_lease(CLAIM, Ledger(60, left)):
        pytest.fail("it began")
    assert [] == threads()


def test_a_shard_reads_the_claim_again_and_again_and_stops_when_it_is_lost() -> None:
    ledger = Ledger(0.3, 3_600.0, EndpointConnectionError(endpoint_url="http://ledger"), 3_600.0, None)
    with shard_lease(CLAIM, ledger) as held:
        eventually(lambda: not is_open(held), 20, "the loss")
    assert 4 == ledger.asked
    assert [] == threads()


def test_a_shard_that_cannot_read_the_claim_does_not_begin() -> None:
    away = EndpointConnectionError(endpoint_url="http://ledger")
    with pytest.raises(EndpointConnectionError), shard_lease(CLAIM, Ledger(60, away)):
        pytest.fail("it began")
