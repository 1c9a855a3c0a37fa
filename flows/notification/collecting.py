"""The email of an ingest run, recorded before its first file: a run that dies is still reported."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prefect.runtime import flow_run

from blocks.aws_block import AWS_ERRORS
from blocks.domain.limits import FENCE_MARGIN, RENEWALS_PER_LEASE
from blocks.domain.models import FileReport, LedgerEntry, SensorFile
from blocks.domain.s3_keys import decoded_key
from blocks.file_ledger.emails import version_of
from blocks.file_ledger.outbox import EMAIL_LEASE, ClaimedEmail
from blocks.runtime import runtime
from blocks.saved_blocks import run_blocks


class EmailCollection:
    """The email that this run collects for: what it settles names it, so that another run can make it if this one dies.

    A run that stood still may find that another process has taken it for dead, and has made the email of what was
    settled by then. What it settles afterwards goes into another email.
    """

    def __init__(self, files: Sequence[SensorFile], wait_seconds: float) -> None:
        self._files, self._wait_seconds = files, wait_seconds
        self._earlier: list[str] = []
        self._closed = False
        self._claimed = self._collect(f"{runtime().flow_run_id()}-{flow_run.run_count}")  # a retried run has its own

    def __call__(self) -> str:
        """The id of the email that this run collects for now: of a new one if another process has taken the last."""
        age = runtime().monotonic() - self._claimed.asked_at
        if age >= EMAIL_LEASE.total_seconds() * (1 - FENCE_MARGIN):
            self.keep()
        return self._claimed.email.email_id

    def close(self) -> None:
        """Collect no more: the email is about to be made, and waits then without this run."""
        self._closed = True

    def keep(self) -> bool:
        """Keep the email for a minute from now; if it was taken, collect for a new one. False once it is closed."""
        if self._closed:
            return False
        claimed = self._claimed
        # Files are loaded in several threads: another one may have collected for a new email in the meantime.
        if not run_blocks().file_ledger.keep_email(claimed) and self._claimed is claimed and not self._closed:
            lost = claimed.email.email_id
            runtime().log().warning("This run was taken for dead, and the email %s was made without it.", lost)
            self._earlier.append(lost)
            self._claimed = self._collect(f"{lost}+")
        return not self._closed

    def completed(self, reports: Sequence[FileReport]) -> list[FileReport]:
        """The reports, with what the ledger says in place of errors whose loads it knows as done.

        A version may be settled although its load ended with an error: the answer of the ledger was lost. So its entry
        takes the place of the error.

        Raises whatever the ledger raises: then this run makes no email, as it could be wrong. Another process makes it
        of what is settled, when the lease has expired.
        """
        failed = list(filter(_is_error, reports))
        settled = run_blocks().file_ledger.settled_for(self(), ((each.bucket, each.key) for each in failed))
        known = {version_of(report) for report in reports if not _is_error(report)}
        # An archived file with a problem is one whose second load failed: it is settled as before.
        done = (entry for entry in settled if not (entry.status == "archived" and entry.problem))
        unawares = [entry for entry in done if version_of(entry) not in known]
        errors = [each for each in failed if any(_is_answered(each, entry) for entry in unawares)]
        return [*(report for report in reports if report not in errors), *unawares]

    def uncovered(self, reports: Sequence[FileReport]) -> list[FileReport]:
        """The reports that are in no email that another process has made.

        A report that was settled for a different email is in none of them, even if one of them names the same version:
        that version may have been taken for replaced, and loaded later.
        """
        if not self._earlier:
            return list(reports)
        emails = run_blocks().file_ledger.emails(self._earlier).values()
        covered = {(email.email_id, version) for email in emails for version in email.files}

        def is_covered(report: FileReport) -> bool:
            settled_for = report.email_id if isinstance(report, LedgerEntry) else None
            ids = [settled_for] if settled_for else self._earlier
            return any((email_id, version_of(report)) in covered for email_id in ids)

        return [report for report in reports if not is_covered(report)]

    def _collect(self, email_id: str) -> ClaimedEmail:
        ledger = run_blocks().file_ledger
        return ledger.collect(email_id, self._files, self._wait_seconds, runtime().flow_run_id())


def _is_error(report: FileReport) -> bool:
    """Whether the report is of an error, not of an entry. It says `loading` if the lease of the file was lost."""
    return report.status in ("failed", "loading") and not isinstance(report, LedgerEntry)


def _is_answered(failed: FileReport, entry: LedgerEntry) -> bool:
    """Whether the entry says what became of the version whose load seemed to fail."""
    same_key = (entry.bucket, entry.key) in ((failed.bucket, failed.key), (failed.bucket, decoded_key(failed.key)))
    return same_key and entry.status != "superseded" and failed.version in (None, entry.version, entry.etag)


@contextmanager
def email_collected(files: Sequence[SensorFile], wait_seconds: float) -> Iterator[EmailCollection]:
    """The email about what becomes of these files; this run has it until the block ends."""
    collection = EmailCollection(files, wait_seconds)
    with _kept(collection.keep, "email"):
        yield collection


@contextmanager
def email_kept(claimed: ClaimedEmail) -> Iterator[None]:
    """While the block lasts, no other run sends the email."""
    with _kept(lambda: run_blocks().file_ledger.keep_email(claimed), f"email {claimed.email.email_id}"):
        yield


@contextmanager
def _kept(keep: Callable[[], bool], name: str) -> Iterator[None]:
    def kept() -> bool:
        try:
            return keep()
        except AWS_ERRORS as error:
            runtime().log().warning("The lease on the %s could not be renewed: %s", name, error)
            return True

    with runtime().repeated(kept, EMAIL_LEASE.total_seconds() / RENEWALS_PER_LEASE, name):
        yield
