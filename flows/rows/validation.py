"""Validation of a file in one pass: counts, verdict, readings and rejects."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from blocks.domain.models import Reject, RowCounts, Verdict
from blocks.domain.readings_summary import ReadingsSummary
from flows.rows.accepted_rows import AcceptedRows, AcceptedRowsWriter
from flows.rows.compression import HEAD_BYTES
from flows.rows.content import guess_file_type, open_csv
from flows.rows.line_classifier import LineClassifier
from flows.rows.lines import line_blocks
from flows.rows.rejects import RejectFile
from flows.rows.rules import RowRules
from flows.rows.settings import RefusedError, ValidationSettings

DEFAULT_SETTINGS = ValidationSettings()


@dataclass(frozen=True)
class ValidatedFile:
    """The result of validating a file. Its readings and rejects are files in the workspace."""

    counts: RowCounts
    verdict: Verdict
    reasons: dict[str, int] = field(default_factory=dict)
    """The number of rejected rows by reason; reasons without rows are left out."""
    first_rejects: list[Reject] = field(default_factory=list)
    refusal: str | None = None
    """Why the whole file is refused, for people; None if it is not refused."""
    rejects_path: Path | None = None
    """CSV of the first rejected rows, columns `line`, `reason`, `text`; None if no row is rejected.

    If not all are in it, its last record counts the others, with the reason `not_stored` and no line number.
    """
    rejects_stored: int = 0
    """Rejected rows in this CSV, which `ValidationSettings` bounds."""
    summary: ReadingsSummary | None = None
    """Sensors, time range and timeline of the readings; None if there are no readings."""
    settings: ValidationSettings = field(default=DEFAULT_SETTINGS, repr=False, compare=False)
    """The settings of this validation, with the second that counts as now, so that a repetition has the same result."""
    _rows: AcceptedRows | None = field(default=None, repr=False, compare=False)

    def items(self) -> Iterator[pa.RecordBatch]:
        """The rows to store, in file order, some 75,000 short ones at a time; none if the file is refused.

        A column is an attribute, in the order of the feed's schema, see `blocks.dynamodb.attributes`; a null is a
        missing value, which is not stored. Numbers are text in a form that DynamoDB takes, equal to those in the file.
        Keys are unique: of rows with the same key, only the last one in the file is kept. The method can be called
        again as long as the workspace exists.
        """
        return self._rows.batches() if self._rows else iter(())


def validate_file(
    source: BinaryIO,
    workspace: Path,
    settings: ValidationSettings = DEFAULT_SETTINGS,
    progress: Callable[[int], None] | None = None,
) -> ValidatedFile:
    """Counts, verdict, readings and rejects of the CSV in `source`, which is read once, block by block, to its end.

    Errors in the content are part of the result, not exceptions. All counts are zero if the content is not text, for
    example an image.

    Args:
        source: a binary stream; it need not be seekable.
        workspace: a directory for the accepted rows and rejects of this file only; the caller deletes it. It needs
            about one and a half times the size of the file.
        settings: the rules for rows, and the limits.
        progress: called with the number of bytes of `source` read so far.

    Raises:
        OSError: reading `source` failed, or the workspace is full.
    """
    settings = replace(settings, now=settings.starts_at())
    try:
        return _validated(source, workspace, settings, progress)
    except RefusedError as refused:
        return ValidatedFile(RowCounts(), "refused", refusal=str(refused), settings=settings)


def _validated(
    source: BinaryIO, workspace: Path, settings: ValidationSettings, progress: Callable[[int], None] | None
) -> ValidatedFile:
    csv = open_csv(source, settings, progress)
    head = csv.peek()[:HEAD_BYTES]
    rules = RowRules(settings)
    with (
        RejectFile(workspace, settings, rules.reasons) as rejects,
        AcceptedRowsWriter(workspace, settings, rules) as accepted,
    ):
        classifier = LineClassifier(settings, rules, rejects)
        for block in line_blocks(iter(partial(csv.read, settings.block_bytes), b""), settings.max_line_bytes):
            accepted.add(classifier.valid_rows(block))
        accepted.mark_replaced()
        rejects.count_others()
    summary = accepted.summary()
    counts = classifier.counts(accepted=accepted.accepted, replaced=accepted.replaced)
    refusal = _refusal(counts, settings.feed.reject_limit, head)
    return ValidatedFile(
        counts=counts,
        verdict="refused" if refusal else "partly" if counts.rejected else "accepted",
        reasons=dict(rejects.reasons),
        first_rejects=rejects.first,
        refusal=refusal,
        rejects_path=rejects.path,
        rejects_stored=rejects.stored,
        summary=None if refusal else summary,
        settings=settings,
        _rows=None if refusal else accepted.rows,
    )


def _refusal(counts: RowCounts, limit: float, head: bytes) -> str | None:
    """Why the whole file is refused; None if at most `limit` of its rows are rejected."""
    if not counts.lines:
        return "empty file"
    if not counts.rows:
        return "no rows, only a header" if counts.header else "no rows, only blank lines"
    # Fractions are exact: as a float, 0.58 * 50 is less than 29, so 29 of 50 rows would exceed a limit of 58 %.
    if counts.rejected <= Fraction(str(limit)) * counts.rows:
        return None
    share = 100 * counts.rejected / counts.rows
    broken = f"{counts.rejected:,} of {counts.rows:,} rows ({share:.3g} %) break a rule; the limit is {100 * limit:g} %"
    file_type = guess_file_type(head)
    return f"{broken}; the file looks like {file_type}" if file_type else broken
