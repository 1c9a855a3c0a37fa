"""The page about a run in the Prefect UI. Names and texts from outside are escaped, so they stay text."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from flows.models import FileReport
from flows.plot import png
from flows.report.titles import headline, verb
from flows.report.words import (
    PROBLEM_SHOWN,
    caption,
    counted,
    coverage,
    covered,
    markdown_text,
    most_urgent_first,
    one_line,
    rows_text,
)

FILES_SHOWN: Final = 100
"""Files in the table; more make no page that anybody reads."""
FILES_EXPLAINED: Final = 10
"""Files whose refused rows are shown below the table."""
ADDRESS_SHOWN: Final = 300


def markdown_page(reports: Sequence[FileReport]) -> str:
    """The report that the Prefect UI shows: result, totals, plot, a table of files, and examples of refused rows."""
    files = most_urgent_first(reports)
    parts = [
        [f"## {markdown_text(headline(reports))}"],
        [_totals(reports)],
        [coverage(reports)],
        [_picture(reports)],
        [*_table(files[:FILES_SHOWN]), *_left_out(files[FILES_SHOWN:])],
        *([*_explained(file)] for file in [file for file in files if file.rejected][:FILES_EXPLAINED]),
    ]
    return "\n\n".join("\n".join(part) for part in parts if any(part))


def _totals(reports: Sequence[FileReport]) -> str:
    rows, loaded = sum(report.rows for report in reports), sum(report.loaded for report in reports)
    replaced, rejected = sum(report.replaced for report in reports), sum(report.rejected for report in reports)
    files = counted(len(reports), "file")
    return f"{files}, {rows_text(rows)}: {loaded:,} loaded, {replaced:,} replaced by a later row, {rejected:,} rejected"


def _picture(reports: Sequence[FileReport]) -> str:
    summary = covered(reports)
    if not summary or not summary.timeline:
        return ""
    picture = b64encode(png(summary.timeline, summary.first, summary.last)).decode()
    return f"![{caption(summary)}](data:image/png;base64,{picture})"


def _table(files: Sequence[FileReport]) -> list[str]:
    lines = [
        "| file | result | rows | loaded | replaced | rejected | where it is now, or what was wrong |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for file in files:
        cells = [
            markdown_text(one_line(file.name)),
            verb(file),
            *(f"{count:,}" for count in (file.rows, file.loaded, file.replaced, file.rejected)),
            markdown_text(_where_or_why(file)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _where_or_why(file: FileReport) -> str:
    if file.problem:
        return one_line(file.problem, PROBLEM_SHOWN)
    return one_line(file.archived_to or file.uri, ADDRESS_SHOWN)


def _left_out(files: Sequence[FileReport]) -> list[str]:
    if not files:
        return []
    rows = rows_text(sum(file.rows for file in files))
    return ["", f"… and {len(files):,} more files with {rows}; `sensor-ingest history` shows them all."]


def _explained(file: FileReport) -> list[str]:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(file.reasons.items()))
    lines = [
        f"### {markdown_text(one_line(file.name))}: {rows_text(file.rejected)} rejected",
        "",
        markdown_text(reasons),
        "",
        "| line | reason | text |",
        "| ---: | --- | --- |",
    ]
    lines += [
        f"| {reject.line:,} | {markdown_text(reject.reason)} | {markdown_text(one_line(reject.text))} |"
        for reject in file.first_rejects
    ]
    more = file.rejected - len(file.first_rejects)
    if more > 0 and file.first_rejects:
        lines += ["", f"… and {rows_text(more)} more"]
    if file.rejects_at:
        lines += ["", f"All of them: {markdown_text(one_line(file.rejects_at, ADDRESS_SHOWN))}"]
    return lines
