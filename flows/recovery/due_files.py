"""Files that are due: a lease or a back-off has ended, or no run has claimed them after they were announced."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Final

from blocks.domain.limits import FILES_PER_EVENT, in_groups
from blocks.domain.models import SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.due import DueFile
from blocks.runtime import runtime
from flows.recovery.run_slots import Slots

CLAIMED_WITHIN: Final = timedelta(seconds=90)
"""How long after its announcement a file is due again, if no run has claimed it: a run starts within seconds."""

Announce = Callable[[Sequence[SensorFile], str, str], object]
"""Sends files, their prefix and an occasion as one event; returns when the server has acknowledged it."""


def take_up_due(ledger: FileLedger, slots: Slots, announce: Announce, incoming_prefix: str) -> list[SensorFile]:
    """The due files that were announced now: as many groups as there are free run slots, the longest due first.

    Raises whatever the ledger, the slots or the announcement raise. A group that was not announced is due again later.
    """
    announced: list[SensorFile] = []
    if next(ledger.due_files(), None) is None or not slots.free():
        return announced
    for group in due_groups(ledger):
        if not slots.take():
            break
        announce_expected(group, ledger, announce, incoming_prefix)
        announced += group
    return announced


def announce_expected(
    files: Sequence[SensorFile], ledger: FileLedger, announce: Announce, incoming_prefix: str
) -> None:
    """Announce the files, which are due again if no run claims them."""
    ledger.expect(files, CLAIMED_WITHIN)
    # The id of an event is derived from what it carries: an occasion makes it another event than the one before.
    announce(files, incoming_prefix, f"taken up: {runtime().unique_id()}")


def due_groups(ledger: FileLedger) -> Iterator[list[SensorFile]]:
    """The due files as they are announced together, the longest due first; they are read as they are asked for.

    A file of which more than one load, or reload, has failed is announced alone: if it kills each process that loads
    it, it takes other files down only twice. After one failure the process may be to blame, and a run for each of the
    files that it held would make all of them wait for one another.
    """
    due = ledger.due_files()
    while part := list(islice(due, FILES_PER_EVENT)):
        yield from in_groups(_file(each) for each in part if not _is_suspect(each))
        yield from ([_file(each)] for each in part if _is_suspect(each))


def _is_suspect(due: DueFile) -> bool:
    attempts = due.entry.attempts if due.entry else due.claim.reload_tries
    return attempts > 1


def _file(due: DueFile) -> SensorFile:
    """The key without a version: the current one is loaded, whichever of them wait."""
    return SensorFile(bucket=due.claim.bucket, key=due.claim.key)
