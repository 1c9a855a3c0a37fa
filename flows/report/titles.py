"""What a result is called in one line: names of runs and states, headlines, reports of errors."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from blocks.domain.errors import ClaimedElsewhereError, ObjectMissingError
from blocks.domain.models import FileReport, SensorFile
from flows.report.wording import rows_text, short

_VERBS: Final = {"archived": "loaded", "loading": "being loaded by another run"}


def run_title(names: Sequence[str]) -> str:
    """`sensors.csv`, or `sensors.csv and 2 more`."""
    first = short(names[0])
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def email_run_name(names: Sequence[str]) -> str:
    """`email about sensors.csv`: what a run of `notify` is called, whoever makes it."""
    return f"email about {run_title(names)}"


def headline(reports: Sequence[FileReport]) -> str:
    """The result in one line: `sensors.csv: 7 rows loaded`, `3 files: 2 loaded, 1 refused`."""
    if len(reports) == 1:
        return f"{short(reports[0].name)}: {result(reports[0])}"
    kinds = Counter(verb(report) for report in reports)
    files = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    rejected = sum(report.rejected for report in reports if report.status != "refused")
    return f"{len(reports)} files: {files}" + (f"; {rows_text(rejected)} rejected" if rejected else "")


def outcome(reports: Sequence[FileReport]) -> str:
    """The name of the state that an ingest run ends in."""
    if all(report.already_done for report in reports):
        return "AlreadyLoaded"
    if all(report.status in ("failed", "missing") for report in reports):
        return "Failed"
    if any(report.status in ("failed", "missing") for report in reports):
        return "PartlyFailed"
    if any(report.status == "refused" or report.rejected for report in reports):
        return "PartlyRejected"
    return "Completed"


def report_of_error(file: SensorFile, error: object) -> FileReport:
    """The report of a file whose load ended in an error. That another run is at it is none: that run will tell."""
    elsewhere = isinstance(error, ClaimedElsewhereError)
    return FileReport(
        bucket=file.bucket,
        key=file.key,
        version=file.version,
        status="loading" if elsewhere else "missing" if isinstance(error, ObjectMissingError) else "failed",
        problem=str(error) or type(error).__name__,
        already_done=elsewhere,
    )


def verb(report: FileReport) -> str:
    verb = _VERBS.get(report.status, report.status)
    return f"{verb} before" if report.already_done and report.status != "loading" else verb


def result(report: FileReport) -> str:
    match report.status:
        case "archived" if report.already_done:
            return "loaded before, nothing to do"
        case "archived":
            rejected = f", {report.rejected:,} rejected" if report.rejected else ""
            return f"{rows_text(report.accepted)} loaded{rejected}"
        case _:
            return verb(report)
