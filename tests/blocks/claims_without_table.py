"""A free key, a held one, and a run that takes it, without a table."""

from datetime import UTC, datetime, timedelta

from blocks.file_ledger.claim_rules import LATE_WRITES_END_AFTER, Claim

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
FREE = Claim("landing", "incoming/a.csv", revision=7, epoch=3)
LATE = NOW + LATE_WRITES_END_AFTER


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def take(claim: Claim, version: str = "v1", claim_id: str = "c1", now: datetime = NOW) -> Claim:
    return claim.taken(claim_id, f"run of {claim_id}", version, lease=LEASE, now=now)


HELD = take(FREE)
