"""Reports in the parameters of the run that emails about them, whose size Prefect limits."""

from collections.abc import Sequence
from typing import Final

from blocks.domain.limits import PARAMETERS_BYTES, json_bytes
from blocks.domain.models import FileReport
from blocks.domain.readings_summary import joined
from flows.report.wording import REJECTS_SHOWN, truncated

COARSE_BUCKETS: Final = 8
"""Periods kept of each file's timeline if whole timelines do not fit."""


def fit_into_parameters(reports: Sequence[FileReport]) -> list[FileReport]:
    """The reports without the ledger's own fields, shortened until they fit into a flow run's parameters.

    Removed step by step: rejects that the email does not show, most periods of the timelines, all rejects, the
    timelines, and last what the ledger stores too: addresses, summaries, and the end of long problems.
    """
    shorter = [FileReport.model_validate(report.model_dump()) for report in reports]
    for shorten in (_with_rejects_shown, _with_coarse_timeline, _without_rejects, _without_timeline, _minimal):
        if sum(map(json_bytes, shorter)) <= PARAMETERS_BYTES:
            break
        shorter = [shorten(report) for report in shorter]
    return shorter


def _with_rejects_shown(report: FileReport) -> FileReport:
    shown = report.first_rejects[:REJECTS_SHOWN]
    rejects = [reject.model_copy(update={"text": truncated(reject.text)}) for reject in shown]
    return report.model_copy(update={"first_rejects": rejects})


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


def _minimal(report: FileReport) -> FileReport:
    problem = truncated(report.problem) if report.problem else None
    return report.model_copy(update={"problem": problem, "archived_to": None, "rejects_at": None, "summary": None})
