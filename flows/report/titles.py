"""Results in one line: names of runs and final states, headlines, and the report of an error."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from blocks.domain.errors import LeaseLostError, ObjectMissingError
from blocks.domain.models import FileReport, SensorFile
from flows.report.wording import rows_text, truncated

_STATUS_TEXTS: Final = {"archived": "loaded", "loading": "being loaded by another run"}


def ingest_run_name(names: Sequence[str]) -> str:
    """`sensors.csv`, or `sensors.csv and 2 more`."""
    first = truncated(names[0])
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def email_run_name(names: Sequence[str]) -> str:
    """`email about sensors.csv`: the name of a run of `notify`."""
    return f"email about {ingest_run_name(names)}"


def headline(files: Sequence[FileReport]) -> str:
    """The result in one line: `sensors.csv: 7 rows loaded`, `3 files: 2 loaded, 1 refused`."""
    if len(files) == 1:
        return f"{truncated(files[0].name)}: {result_text(files[0])}"
    kinds = Counter(status_text(file) for file in files)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    rejected = sum(file.rejected for file in files)
    return f"{len(files)} files: {counts}" + (f"; {rows_text(rejected)} rejected" if rejected else "")


def final_state_name(files: Sequence[FileReport]) -> str:
    """The name of the state that an ingest run ends in."""
    files = [file for file in files if not file.already_done]
    if not files:
        return "AlreadyLoaded"
    if all(file.status in ("failed", "missing") for file in files):
        return "Failed"
    if any(file.status in ("failed", "missing") for file in files):
        return "PartlyFailed"
    if any(file.status == "refused" or file.rejected for file in files):
        return "PartlyRejected"
    return "Completed"


def report_of_error(file: SensorFile, error: object) -> FileReport:
    """The report of a file whose load raised an error.

    A file whose lease this run has lost counts as done: the run that claimed it since reports it.
    """
    elsewhere = isinstance(error, LeaseLostError)
    return FileReport(
        bucket=file.bucket,
        key=file.key,
        version=file.version,
        status="loading" if elsewhere else "missing" if isinstance(error, ObjectMissingError) else "failed",
        problem=str(error) or type(error).__name__,
        already_done=elsewhere,
    )


def status_text(file: FileReport) -> str:
    """`loaded`, `refused before`: the status of a file, and whether an earlier run reached it."""
    text = _STATUS_TEXTS.get(file.status, file.status)
    return f"{text} before" if file.already_done and file.status != "loading" else text


def result_text(file: FileReport) -> str:
    """`7 rows loaded, 1 rejected` for a loaded file, the status for any other."""
    match file.status:
        case "archived" if file.already_done:
            return "loaded before, nothing to do"
        case "archived":
            rejected = f", {file.rejected:,} rejected" if file.rejected else ""
            return f"{rows_text(file.accepted)} loaded{rejected}"
        case _:
            return status_text(file)
