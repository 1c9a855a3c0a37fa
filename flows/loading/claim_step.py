"""The first step of a key: who loads which version of it, if any does."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.aws_block import AWS_ERRORS
from blocks.domain.errors import ObjectMissingError
from blocks.domain.models import SETTLED, FileReport, LedgerEntry, SensorFile, StoredFile
from blocks.domain.s3_keys import decoded_key
from blocks.file_ledger.claiming import CurrentEmail, Owned, OwnedElsewhere, email_of
from blocks.file_ledger.holding import HeldClaim
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks
from flows.recovery.retry_policy import permanent_problem

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

LOOK_AGAIN_SECONDS: Final = [0.5, 1.0, 2.0, 4.0]
"""Pauses before `claim` looks again for an object that does not exist yet: the event can be faster than S3."""


@dataclass
class Claimed:
    """What this run is to do about a key."""

    file: SensorFile
    """The version to load, as S3 has it now."""
    held: HeldClaim | None = None
    """The claim of this run; None if there is nothing to load."""
    entry: LedgerEntry | None = None
    """Of the version to load; None for a reload."""
    reload: list[LedgerEntry] = field(default_factory=list)
    """The archived versions to write again, in this order."""
    reports: list[FileReport] = field(default_factory=list)
    """Of the versions that need no load by this run."""
    stays_due: bool = False
    """Whether this run leaves the key due: another run holds it, or a settled version could not be moved."""


def _not_there_yet(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    return isinstance(state.result(raise_on_failure=False), ObjectMissingError)


@task(
    task_run_name="claim {file.name}",
    cache_policy=NO_CACHE,
    retries=len(LOOK_AGAIN_SECONDS),
    retry_delay_seconds=LOOK_AGAIN_SECONDS,
    retry_condition_fn=_not_there_yet,
)
def claim(file: SensorFile, claim_id: str, email: CurrentEmail = None, *, force: bool = False) -> Claimed:
    """What is to be done about the key, which this run holds if it is to load or write anything.

    The current version in `incoming/` is claimed, also if an older one was announced. If another run holds the key, the
    version is noted there, and that run goes on with it. With `force` a settled version is loaded again; one that has
    moved, from where it was archived.

    Raises:
        ObjectMissingError: the object does not exist and has no entry; retried after `LOOK_AGAIN_SECONDS`.
        PermissionMissingError: AWS refused a call; not retried.
    """
    reports: list[FileReport] = []
    while True:
        if found := _found(file):
            key, claimed = found.key, _claimed(file, found, claim_id, email, force=force)
        else:
            known = _known(file)
            key, claimed = known.key, _without_object(known, claim_id, email, force=force)
        if key != file.key:  # it was announced under an encoded key, and has landed under the decoded one
            reports += _closed(file, claim_id, email)
            _cleared(file, found, claim_id)
            file = file.model_copy(update={"key": key})
        reports += [each for each in claimed.reports if each.version not in {known.version for known in reports}]
        if claimed.held or claimed.stays_due or _cleared(file, found, claim_id):
            break
    if not claimed.held and not reports:
        raise ObjectMissingError(file.uri, sum(LOOK_AGAIN_SECONDS))
    return replace(claimed, reports=reports)


def _claimed(file: SensorFile, found: StoredFile, claim_id: str, email: CurrentEmail, *, force: bool) -> Claimed:
    """What is to be done about the object that is there: nothing if a newer version has replaced it meanwhile."""
    ledger = run_blocks().file_ledger
    announced = _announced(file, found)
    result = ledger.claim(found, claim_id, runtime().flow_run_id(), announced=announced, email_id=email, again=force)
    if isinstance(result, Owned):
        return Claimed(found, result.held, result.entry, reports=[*result.superseded])
    if isinstance(result, OwnedElsewhere):
        return Claimed(found, reports=[_already_done(result.entry)], stays_due=True)
    done, stays_due = [_already_done(result)], False
    try:
        if not _moved_settled(found, result):
            return Claimed(found)
    except AWS_ERRORS as error:
        # The file is loaded. It stays due, at intervals that grow, and no email says that it failed.
        runtime().log().warning("%s is settled, and cannot be moved: %s", found.uri, error)
        stays_due = True
    # Also where the object stays, as it failed for good: else the key would be due again and again.
    done += _closed(found, claim_id, email)
    if again := _to_write_again(found, claim_id):
        return replace(again, reports=done)
    if stays_due:
        ledger.make_due([found])  # it may be that no announcement has made it due
    return Claimed(found, reports=done, stays_due=stays_due)


def _cleared(file: SensorFile, found: StoredFile | None, claim_id: str) -> bool:
    """Whether this run is done with the key; False if a version may have come since the look that found this one.

    The claim is read before the bucket is looked at once more, and it is changed only if it is as it was read: what is
    announced after that look stays due, also if this run dies.
    """
    ledger = run_blocks().file_ledger
    as_read, now = ledger.claim_of(file.bucket, file.key), _found(file)
    return (now is None or now == found) and ledger.clear_due(as_read, claim_id)


def _known(file: SensorFile) -> SensorFile:
    """The file under the key that the ledger knows: as it was sent, or else decoded."""
    decoded = file.model_copy(update={"key": decoded_key(file.key)})
    if decoded.key == file.key:
        return file
    as_sent, as_decoded = run_blocks().file_ledger.claims_of([file, decoded])
    return decoded if as_decoded.epoch and not as_sent.epoch else file


def _announced(file: SensorFile, found: StoredFile) -> str | None:
    """The version that was announced, if it is named as the ledger names those of the key; a listing has ETags."""
    named_alike = (file.version == file.version_id) == (found.version == found.version_id)
    return file.version if found.key == file.key and named_alike else None


def _without_object(file: SensorFile, claim_id: str, email: CurrentEmail, *, force: bool) -> Claimed:
    """What is to be done about a key whose object is gone, as it was archived, replaced and archived, or deleted."""
    ledger = run_blocks().file_ledger
    archived = ledger.archived(file) if force else None
    if archived:
        return _archived_again(archived, claim_id, email)
    if again := _to_write_again(file, claim_id):
        return again
    if closed := _closed(file, claim_id, email):
        return Claimed(file, reports=closed)
    if known := ledger.entry(file):
        return Claimed(file, reports=[_already_done(known)])
    if skipped := ledger.skip(file, _ClosedAs(file, email)):
        return Claimed(file, reports=[skipped])
    return Claimed(file)


def _closed(file: SensorFile, claim_id: str, email: CurrentEmail) -> list[FileReport]:
    """The settled entries of the key's versions that waited; none if another run holds the key.

    Their object is gone: the key has none, or one that is settled.
    """
    return [*(run_blocks().file_ledger.close(file, _ClosedAs(file, email), claim_id) or ())]


def _to_write_again(file: SensorFile, claim_id: str) -> Claimed | None:
    """The versions of the key that are to be written again now, as older rows may have come after theirs."""
    again = run_blocks().file_ledger.claim_reload(file.bucket, file.key, claim_id, runtime().flow_run_id())
    return Claimed(file, again[0], reload=again[1]) if again else None


class _ClosedAs:
    """The settled entry of a version that waited, and whose object is gone."""

    def __init__(self, file: SensorFile, email: CurrentEmail) -> None:
        self._file, self._email = file, email

    def __call__(self, entry: LedgerEntry) -> LedgerEntry:
        by = {"flow_run_id": runtime().flow_run_id(), "email_id": email_of(self._email)}
        if twin := self._archived_twin(entry):
            # The same bytes were uploaded again while they were loaded, and moved away together.
            kept = {"landed_at": entry.landed_at, "claimed_at": entry.claimed_at, "notified_at": None}
            return twin.model_copy(update={"version": entry.version, **kept, **by})
        if entry.tries:
            problem = "it was deleted from incoming/ before it was loaded; some of its rows may be in the table"
            return entry.model_copy(update={"status": "missing", "problem": problem, **by})
        problem = "another version of this key replaced it, or it was deleted, before it was loaded"
        return entry.model_copy(update={"status": "superseded", "problem": problem, **by})

    def _archived_twin(self, entry: LedgerEntry) -> LedgerEntry | None:
        entries = run_blocks().file_ledger.entries_of(self._file.bucket, self._file.key) if entry.etag else []
        twins = (each for each in entries if each.archived_to and each.status in SETTLED and each.etag == entry.etag)
        return max(twins, key=lambda each: each.epoch, default=None)


def _archived_again(archived: LedgerEntry, claim_id: str, email: CurrentEmail) -> Claimed:
    """The archived object, claimed for a second load from where it is."""
    blocks = run_blocks()
    found = blocks.landing_zone.describe(SensorFile.model_validate(archived.archived_to))
    if found is None:
        raise ObjectMissingError(str(archived.archived_to), 0)
    found = found.without_version_id()
    result = blocks.file_ledger.claim_archived(archived, claim_id, runtime().flow_run_id(), email_id=email)
    if isinstance(result, OwnedElsewhere):
        return Claimed(found, reports=[_already_done(result.entry)])
    return Claimed(found, result.held, result.entry)


def _moved_settled(found: StoredFile, entry: LedgerEntry) -> bool:
    """Whether the settled file is where it belongs now; False if a newer version has replaced it meanwhile.

    Its run may have died before it deleted the original. A file that failed and has no other place stays.
    """
    if entry.archived_to is None:
        return True
    run_blocks().landing_zone.store_copy(found, entry.status)
    return run_blocks().landing_zone.remove(found)


def _already_done(entry: LedgerEntry) -> FileReport:
    status = entry.status if entry.status in SETTLED else "loading"
    return entry.model_copy(update={"already_done": True, "status": status})


def _found(file: SensorFile) -> StoredFile | None:
    """The object under its key as sent, or else under the decoded key.

    Sources disagree on whether EventBridge encodes keys. The key as sent comes first: it may contain a "+" or "%".
    """
    for key in dict.fromkeys((file.key, decoded_key(file.key))):
        found = _described(file.model_copy(update={"key": key}))
        if found:
            return found
    return None


def _described(file: SensorFile) -> StoredFile | None:
    """The object as it is now; as it is listed, where S3 says nothing about it to those who lack its key.

    It is claimed like any other: only the run that has claimed a file may settle it, and reading it ends the load.
    """
    blocks = run_blocks()
    try:
        return blocks.landing_zone.describe(file)
    except ClientError as error:
        if permanent_problem(error) is None:
            raise
    found = blocks.landing_zone.listed(file)
    entries = blocks.file_ledger.entries_of(file.bucket, file.key) if found else []
    known = next((entry for entry in entries if found and entry.etag == found.etag), None)
    if found is None or known is None:
        return found
    # A listing has no version ids: the entry of this content is found under what announced it first, event or sweep.
    return found.model_copy(update={"version_id": None if known.version == found.etag else known.version})
