"""The lease of a run on a file: renewed while the file is worked on, released if that fails."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from prefect import get_run_logger

from blocks.domain.errors import SensorIngestError
from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from flows.recovery.failures import blames_file

RENEWALS_PER_LEASE: Final = 3
"""How often a lease is renewed while it lasts: two renewals may fail before another run can take over."""


@contextmanager
def lease_kept(entry: LedgerEntry, ledger: FileLedger) -> Iterator[None]:
    """Renew the lease on the claimed file until the block ends, however long that takes.

    If the block fails, the lease is released: the next run may claim the file at once.
    """
    ended = Event()
    log = get_run_logger()

    def renew() -> None:
        while not ended.wait(ledger.lease_seconds / RENEWALS_PER_LEASE):
            try:
                if not ledger.renew(entry):
                    return  # settled, or claimed by another run: `record` finds out which
            except (SensorIngestError, BotoCoreError, ClientError) as error:
                log.warning("The lease on %s could not be renewed: %s", entry.uri, error)

    renewing = Thread(target=renew, name=f"lease on {entry.name}", daemon=True)
    renewing.start()
    try:
        yield
    except BaseException as error:  # also when the run is told to end, for example because its worker stops
        with suppress(Exception):  # the ledger may be what failed; then the lease expires
            ledger.release(entry, str(error) or type(error).__name__, counts=blames_file(error))
        raise
    finally:
        ended.set()
        renewing.join()
