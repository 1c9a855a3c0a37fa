"""How results are told: titles, headlines, the email, the page in the Prefect UI. Pure text, no I/O."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Final

from flows.errors import ClaimedElsewhereError, ObjectMissingError
from flows.limits import PARAMETERS_BYTES, json_bytes
from flows.models import FileReport, SensorFile
from flows.text import printable

REJECTS_SHOWN: Final = 3
"""Refused rows that the email shows of each file; all of them are in the stored rejects."""

TEXT_SHOWN: Final = 100
"""Characters of a refused row, or of a name in a title, that people are shown."""

_VERBS: Final = {"archived": "loaded", "loading": "being loaded by another run"}


def run_title(names: Sequence[str]) -> str:
    """`sensors.csv`, or `sensors.csv and 2 more`."""
    first = _short(names[0])
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def headline(reports: Sequence[FileReport]) -> str:
    """The result in one line: `sensors.csv: 7 rows loaded`, `3 files: 2 loaded, 1 refused`."""
    if len(reports) == 1:
        return f"{_short(reports[0].name)}: {_one_file(reports[0])}"
    kinds = Counter(_verb(report) for report in reports)
    files = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    rejected = sum(report.rejected for report in reports if report.status != "refused")
    return f"{len(reports)} files: {files}" + (f"; {_rows(rejected)} rejected" if rejected else "")


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


def email_text(reports: Sequence[FileReport]) -> str:
    """The body of the email: a paragraph for each file."""
    return "\n\n".join("\n".join(_paragraph(report)) for report in reports) + "\n"


def markdown_page(reports: Sequence[FileReport]) -> str:
    """The report that the Prefect UI shows: a table of files. Names from outside are escaped, so they stay text."""
    lines = [
        "| file | result | rows | loaded | replaced | rejected | where it is now |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for report in reports:
        cells = [
            _plain(report.name),
            _verb(report),
            *(f"{count:,}" for count in (report.rows, report.loaded, report.replaced, report.rejected)),
            _plain(report.archived_to or report.problem or report.uri),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"**{_plain(headline(reports))}**", "", *lines])


def within_parameters(reports: Sequence[FileReport]) -> list[FileReport]:
    """The reports, small enough for a flow run's parameters, without what only the ledger remembers.

    Where they are too long, they lose first the rejects that the email does not show, then all of them, then what the
    ledger tells as well: where each file went, and most of what was wrong with it.
    """
    shorter = [FileReport.model_validate(report.model_dump()) for report in reports]
    for shorten in (_with_rejects_shown, _without_rejects, _bare):
        if sum(map(json_bytes, shorter)) <= PARAMETERS_BYTES:
            break
        shorter = [shorten(report) for report in shorter]
    return shorter


def _with_rejects_shown(report: FileReport) -> FileReport:
    shown = [reject.model_copy(update={"text": _short(reject.text)}) for reject in report.first_rejects[:REJECTS_SHOWN]]
    return report.model_copy(update={"first_rejects": shown})


def _without_rejects(report: FileReport) -> FileReport:
    return report.model_copy(update={"first_rejects": []})


def _bare(report: FileReport) -> FileReport:
    problem = _short(report.problem) if report.problem else None
    return report.model_copy(update={"problem": problem, "archived_to": None, "rejects_at": None})


def _verb(report: FileReport) -> str:
    verb = _VERBS.get(report.status, report.status)
    return f"{verb} before" if report.already_done and report.status != "loading" else verb


def _one_file(report: FileReport) -> str:
    match report.status:
        case "archived" if report.already_done:
            return "loaded before, nothing to do"
        case "archived":
            rejected = f", {report.rejected:,} rejected" if report.rejected else ""
            return f"{_rows(report.accepted)} loaded{rejected}"
        case _:
            return _verb(report)


def _paragraph(report: FileReport) -> list[str]:
    lines = [f"{_short(report.name)}: {_one_file(report)}"]
    if report.problem:
        lines.append(f"  why: {printable(' '.join(report.problem.split()))}")
    if report.lines:
        lines.append(
            f"  {report.rows:,} rows: {report.accepted:,} loaded, {report.replaced:,} replaced by a later row with the "
            f"same sensor and time, {report.rejected:,} rejected"
            if report.status != "refused"
            else f"  {report.rows:,} rows, {report.rejected:,} of them break a rule; nothing was loaded"
        )
    lines += [f"  {reason}: {_rows(count)}" for reason, count in sorted(report.reasons.items())]
    lines += [
        f"  line {reject.line}: {_short(reject.text)} ({reject.reason})"
        for reject in report.first_rejects[:REJECTS_SHOWN]
    ]
    lines.append(f"  from {printable(report.uri)}")
    if report.archived_to:
        lines.append(f"  now at {printable(report.archived_to)}")
    if report.rejects_at:
        lines.append(f"  rejected rows at {printable(report.rejects_at)}")
    return lines


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= TEXT_SHOWN else f"{shown[:TEXT_SHOWN]}…"


def _plain(text: str) -> str:
    """The text without meaning to Markdown or HTML."""
    shown = escape(printable(" ".join(text.split())))
    return "".join(f"&#{ord(char)};" if char in "|`*_[]\\~" else char for char in shown)
