"""The email of an ingest run, recorded before its first file: a run that dies is still reported."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from prefect.runtime import flow_run

from blocks.domain.errors import SensorIngestError
from blocks.domain.models import SensorFile
from blocks.file_ledger.outbox import EMAIL_LEASE, ClaimedEmail
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks

RENEWALS_PER_LEASE: Final = 3


@contextmanager
def email_collected(files: Sequence[SensorFile], wait_seconds: float) -> Iterator[str]:
    """The id of the email about what becomes of these files; this run has it until the block ends."""
    email_id = f"{runtime().flow_run_id()}-{flow_run.run_count}"  # a run that is retried reports other files
    claimed = run_blocks().file_ledger.collect(email_id, files, wait_seconds)
    with email_kept(claimed):
        yield email_id


@contextmanager
def email_kept(claimed: ClaimedEmail) -> Iterator[None]:
    """While the block lasts, no other run takes up the email."""

    def keep() -> bool:
        try:
            return run_blocks().file_ledger.keep_email(claimed)
        except (SensorIngestError, BotoCoreError, ClientError) as error:
            runtime().log().warning("The email %s could not be kept: %s", claimed.email.email_id, error)
            return True

    with runtime().repeated(keep, EMAIL_LEASE.total_seconds() / RENEWALS_PER_LEASE, "email"):
        yield
