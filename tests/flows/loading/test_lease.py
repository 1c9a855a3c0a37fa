"""The lease of a load: its fence, what a failed load leaves, and whether the file is blamed for it."""

import errno
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.domain.errors import (
    ArchiveError,
    BlockInvalidError,
    BlockMissingError,
    DaskMissingError,
    LeaseLostError,
    PermissionMissingError,
)
from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claim_rules import Claim
from blocks.file_ledger.holding import HeldClaim
from blocks.runtime import Runtime, installed
from flows.loading.lease import Lease, ShardClaim, ShardLease, lease_kept

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ENTRY = LedgerEntry(bucket="landing", key="incoming/a.csv", version="v1", status="loading", claimed_at=NOW)
LEDGER = FileLedger(credentials=AwsCredentials(), table_name="files")


class Clock(Runtime):
    """A monotonic clock that the test turns on."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    with installed(clock := Clock()):
        yield clock


def held() -> HeldClaim:
    claim = Claim("landing", "incoming/a.csv", epoch=3, claim_id="mine", holds="v1", lease_until=NOW)
    return HeldClaim(claim, asked_at=1000.0, began_at=NOW)


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
    released: list[tuple[str, bool]] = []

    def release(_: FileLedger, __: HeldClaim, ___: LedgerEntry, problem: str, **asked: Any) -> None:  # noqa: ANN401 - keywords
        released.append((problem, asked["counts"]))

    monkeypatch.setattr(FileLedger, "release", release)
    with pytest.raises(type(error)), lease_kept(LEDGER, held(), ENTRY):
        raise error
    assert [(str(error), blames_the_file)] == released


def test_nothing_is_sent_from_shortly_before_the_end_of_the_lease(clock: Clock) -> None:
    lease = Lease(LEDGER, held(), ENTRY)
    clock.now = 1054.9
    lease.fence()
    clock.now = 1055.0
    with pytest.raises(LeaseLostError, match=r"incoming/a\.csv"):
        lease.fence()


def test_a_renewal_that_is_refused_stops_the_writer_and_one_that_fails_does_not(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    lease = Lease(LEDGER, held(), ENTRY)
    clock.now = 1020.0

    def unreachable(*_: object) -> bool:
        raise EndpointConnectionError(endpoint_url="http://dynamodb")

    monkeypatch.setattr(FileLedger, "renew", unreachable)
    assert lease.renew()
    lease.fence()
    monkeypatch.setattr(FileLedger, "renew", lambda *_: False)
    assert not lease.renew()
    with pytest.raises(LeaseLostError):
        lease.fence()


def test_a_run_that_lost_its_lease_notes_that_its_rows_may_arrive_late(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    monkeypatch.setattr(FileLedger, "record_lost_claim", lambda _, each: noted.append(each.claim.holds))
    monkeypatch.setattr(FileLedger, "release", lambda *_, **__: noted.append("released"))
    with pytest.raises(LeaseLostError), lease_kept(LEDGER, held(), ENTRY):
        raise LeaseLostError("s3://landing/incoming/a.csv", "a test")
    assert noted == ["v1"]


def test_a_failed_load_whose_claim_another_run_has_taken_is_noted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []

    def taken(*_: object, **__: object) -> None:
        raise LeaseLostError("s3://landing/incoming/a.csv", "a test")

    monkeypatch.setattr(FileLedger, "record_lost_claim", lambda _, each: noted.append(each.claim.holds))
    monkeypatch.setattr(FileLedger, "release", taken)
    # No email says that the file failed: the other run reports it.
    with pytest.raises(LeaseLostError, match="BatchWriteItem"), lease_kept(LEDGER, held(), ENTRY):
        raise PermissionMissingError("dynamodb:BatchWriteItem", "table", "block")
    assert noted == ["v1"]


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_load_says_whether_rows_of_it_may_still_arrive(monkeypatch: pytest.MonkeyPatch, *, is_answered: bool) -> None:
    said: list[bool] = []

    def noted(*_: object, unanswered: bool, **__: object) -> bool:
        said.append(unanswered)
        return False

    for call in ("settle", "release", "end_reload"):
        monkeypatch.setattr(FileLedger, call, noted)
    monkeypatch.setattr(FileLedger, "end_claim", lambda *_: False)
    for entry in (ENTRY, None):
        with lease_kept(LEDGER, held(), entry) as load:
            load.unanswered = not is_answered
            if entry:
                load.settle(entry)
    failed = Lease(LEDGER, held(), ENTRY)
    failed.unanswered = not is_answered
    failed.end_failed(ValueError("broken"))
    assert said == [not is_answered] * 3


@pytest.mark.parametrize(("left", "sends_until"), [(40.0, 1035.0), (0.0, 1000.0), (None, 1000.0)])
def test_a_shard_sends_until_shortly_before_the_end_of_the_lease_of_its_run(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, left: float | None, sends_until: float
) -> None:
    monkeypatch.setattr(FileLedger, "lease_seconds_left", lambda *_: left)
    lease = ShardLease(LEDGER, ShardClaim("landing", "incoming/a.csv", "mine"))
    with pytest.raises(LeaseLostError):
        lease.fence()  # it has not looked yet
    assert lease.look() is (left is not None)
    clock.now = sends_until - 0.01
    if left:
        lease.fence()
    clock.now = sends_until
    with pytest.raises(LeaseLostError):
        lease.fence()


def test_a_lease_that_prefect_sends_to_another_process_has_no_credentials() -> None:
    credentials = AwsCredentials(aws_secret_access_key=SecretStr("hush"))
    lease = Lease(FileLedger(credentials=credentials, table_name="files"), held(), ENTRY)
    sent = pickle.dumps(lease)
    assert b"hush" not in sent
    arrived = pickle.loads(sent)  # noqa: S301 - our own
    assert (lease.held, lease.entry) == (arrived.held, arrived.entry)
