"""One pass over a file: every line is a reading, a reject, the header or blank, and is counted as just that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from blocks.domain.models import Reject, RowCounts, Verdict
from blocks.domain.readings_summary import ReadingsSummary
from flows.rows.content import HEAD_BYTES, likeness, open_text
from flows.rows.line_classifier import LineSorter
from flows.rows.lines import line_blocks
from flows.rows.rejects import RejectFile
from flows.rows.rules import RefusedError, RowRules
from flows.rows.spool import Spool, StoredRows

DEFAULT_RULES = RowRules()


@dataclass(frozen=True)
class ValidatedFile:
    """What became of a file's lines, and what is to be done with it. Readings and rejects wait in the workspace."""

    counts: RowCounts
    verdict: Verdict
    reasons: dict[str, int] = field(default_factory=dict)
    """How many rows break which rule; no reason that did not occur."""
    first_rejects: list[Reject] = field(default_factory=list)
    refusal: str | None = None
    """Why the file as a whole is refused, in plain words."""
    rejects_path: Path | None = None
    """CSV of all refused rows: `line`, `reason`, `text`. None if there are none."""
    summary: ReadingsSummary | None = None
    """What the rows to store look like, for people; none if there are none."""
    rules: RowRules = field(default=DEFAULT_RULES, repr=False, compare=False)
    """What rows were held against, with the last second that was taken: the outcome is the same with these again."""
    _rows: StoredRows | None = field(default=None, repr=False, compare=False)

    def readings(self) -> Iterator[pd.DataFrame]:
        """The rows to store, in file order, some ten thousand a frame; each key once, no row of a refused file.

        Columns: `sensor_id` (`string[pyarrow]`), `timestamp` (`int64`, seconds since the epoch, UTC), `value`
        (`string[pyarrow]`, decimal text that DynamoDB takes as exactly the number in the file). Of rows with the same
        sensor and second only the last of the file is here. Can be called again; needs the workspace.
        """
        return self._rows.frames() if self._rows else iter(())


def validate_file(
    source: BinaryIO,
    workspace: Path,
    rules: RowRules = DEFAULT_RULES,
    progress: Callable[[int], None] | None = None,
) -> ValidatedFile:
    """Counts, verdict, readings and rejects of the CSV in `source`, which is read once, to its end, and never whole.

    Whatever is wrong with the content is said in the result. Counts are zero for content that holds no rows at all,
    such as an image.

    Args:
        source: a binary stream; it need not be seekable.
        workspace: a directory for accepted rows and rejects, for this file alone and the caller's to delete. It takes
            about one and a half times the size of the file.
        rules: what a row has to look like, and the limits.
        progress: called with the number of bytes of `source` read so far.

    Raises:
        OSError: reading `source` failed, or the workspace is full.
    """
    rules = replace(rules, latest=rules.last_second())
    try:
        return _validated(source, workspace, rules, progress)
    except RefusedError as refused:
        return ValidatedFile(RowCounts(), "refused", refusal=str(refused), rules=rules)


def _validated(
    source: BinaryIO, workspace: Path, rules: RowRules, progress: Callable[[int], None] | None
) -> ValidatedFile:
    text = open_text(source, rules, progress)
    head = text.peek()[:HEAD_BYTES]
    with RejectFile(workspace) as rejects, Spool(workspace, rules) as spool:
        sorter = LineSorter(rules, rejects)
        for block in line_blocks(iter(partial(text.read, rules.block_bytes), b""), rules.max_line_bytes):
            spool.add(sorter.readings(block))
        spool.mark_replaced()
    summary = spool.summary()
    counts = sorter.counts(accepted=spool.accepted, replaced=spool.replaced)
    refusal = _refusal(counts, rules.reject_limit, head)
    return ValidatedFile(
        counts=counts,
        verdict="refused" if refusal else "partly" if counts.rejected else "accepted",
        reasons=dict(rejects.reasons),
        first_rejects=rejects.first,
        refusal=refusal,
        rejects_path=rejects.path,
        summary=None if refusal else summary,
        rules=rules,
        _rows=None if refusal else spool.rows,
    )


def _refusal(counts: RowCounts, limit: float, head: bytes) -> str | None:
    if not counts.lines:
        return "empty file"
    if not counts.rows:
        return "no rows, only a header" if counts.header else "no rows, only blank lines"
    # As a fraction, so that 3 of 30 rows are not above a tenth by a rounding error.
    if counts.rejected <= Fraction(str(limit)) * counts.rows:
        return None
    share = 100 * counts.rejected / counts.rows
    broken = f"{counts.rejected:,} of {counts.rows:,} rows ({share:.3g} %) break a rule; the limit is {100 * limit:g} %"
    looks = likeness(head)
    return f"{broken}; the file looks like {looks}" if looks else broken
