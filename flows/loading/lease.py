"""The hold of a run on a file: kept up while the file is worked on, given back if that fails."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from httpx import HTTPError
from prefect import get_run_logger
from prefect.exceptions import PrefectException

from blocks.domain.errors import (
    ClaimedElsewhereError,
    DaskMissingError,
    PermissionMissingError,
    SensorIngestError,
    ShardsDifferError,
    ThrottledError,
)
from blocks.domain.models import LedgerEntry
from blocks.dynamodb.errors import TableUnreachableError
from blocks.file_ledger import FileLedger

RENEWALS_A_LEASE: Final = 3
"""How often a lease is renewed in its time: two renewals may get lost before another run can take over."""

NOT_THE_FILES_FAULT: Final = (
    PermissionMissingError,
    ThrottledError,
    TableUnreachableError,
    ClaimedElsewhereError,
    BotoCoreError,
    ClientError,
    DaskMissingError,
    ShardsDifferError,
    PrefectException,
    HTTPError,
    OSError,
)
"""Errors of AWS, Prefect or the machine, that any file would have met: they bring none nearer to being put aside."""

DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the machine that a huge file causes, for itself and those beside it: counted, it is soon tried alone."""


@contextmanager
def held(entry: LedgerEntry, ledger: FileLedger) -> Iterator[None]:
    """Hold the file that this run has claimed for as long as the block takes, however long that is.

    If it fails, the file is free for the next run at once, instead of when the lease runs out.
    """
    over = Event()
    log = get_run_logger()

    def renew() -> None:
        while not over.wait(ledger.lease_seconds / RENEWALS_A_LEASE):
            try:
                if not ledger.renew(entry):
                    return  # settled, or another run has it: `record` finds out which
            except (SensorIngestError, BotoCoreError, ClientError) as error:
                log.warning("The lease on %s could not be renewed: %s", entry.uri, error)

    renewing = Thread(target=renew, name=f"lease on {entry.name}", daemon=True)
    renewing.start()
    try:
        yield
    except BaseException as error:  # a run that is told to end, too: its worker was killed, say
        with suppress(Exception):  # the ledger may be what failed; the lease runs out then
            ledger.release(entry, str(error) or type(error).__name__, counts=_may_be_its_fault(error))
        raise
    finally:
        over.set()
        renewing.join()


def _may_be_its_fault(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    return isinstance(error, Exception) and not isinstance(error, NOT_THE_FILES_FAULT)
