"""Reports, small enough to be handed to another run."""

from collections.abc import Sequence
from typing import Final

from blocks.domain.limits import PARAMETERS_BYTES, json_bytes
from blocks.domain.models import FileReport
from blocks.domain.readings_summary import joined
from flows.report.wording import REJECTS_SHOWN, short

COARSE_BUCKETS: Final = 8
"""Points in time that each file keeps where there are too many files for all of them."""


def within_parameters(reports: Sequence[FileReport]) -> list[FileReport]:
    """The reports, small enough for a flow run's parameters, without what only the ledger remembers.

    Where they are too long, they lose first the rejects that the email does not show, then most points of the plot, all
    rejects, all points, and last what the ledger tells as well: where each file went, most of what was wrong with it.
    """
    shorter = [FileReport.model_validate(report.model_dump()) for report in reports]
    for shorten in (_with_rejects_shown, _with_coarse_timeline, _without_rejects, _without_timeline, _bare):
        if sum(map(json_bytes, shorter)) <= PARAMETERS_BYTES:
            break
        shorter = [shorten(report) for report in shorter]
    return shorter


def _with_rejects_shown(report: FileReport) -> FileReport:
    shown = [reject.model_copy(update={"text": short(reject.text)}) for reject in report.first_rejects[:REJECTS_SHOWN]]
    return report.model_copy(update={"first_rejects": shown})


def _with_coarse_timeline(report: FileReport) -> FileReport:
    return _with_timeline_of(report, COARSE_BUCKETS)


def _without_timeline(report: FileReport) -> FileReport:
    return _with_timeline_of(report, 0)


def _with_timeline_of(report: FileReport, buckets: int) -> FileReport:
    if not report.summary or not report.summary.timeline:
        return report
    timeline = joined([report.summary.timeline], buckets) if buckets else None
    return report.model_copy(update={"summary": report.summary.model_copy(update={"timeline": timeline})})


def _without_rejects(report: FileReport) -> FileReport:
    return report.model_copy(update={"first_rejects": []})


def _bare(report: FileReport) -> FileReport:
    problem = short(report.problem) if report.problem else None
    return report.model_copy(update={"problem": problem, "archived_to": None, "rejects_at": None, "summary": None})
