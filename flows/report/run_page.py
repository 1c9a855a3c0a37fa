"""The page about a run in the Prefect UI. Names and texts from outside are escaped, so they stay text."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from blocks.domain.models import FileReport
from flows.report.plot import png
from flows.report.titles import headline, result, verb
from flows.report.wording import (
    ADDRESS_SHOWN,
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
"""Files of which is told below the table where they are and what was wrong with them."""
NAME_SHOWN: Final = 48
"""Characters of a name in the table, which has to fit on the page."""


def markdown_page(reports: Sequence[FileReport]) -> str:
    """The report that the Prefect UI shows: result, totals, plot, a table of files, and examples of refused rows."""
    files = most_urgent_first(reports)
    parts = [
        [f"## {markdown_text(headline(reports))}"],
        [_totals(reports)],
        [coverage(reports)],
        [_picture(reports)],
        [*_table(files[:FILES_SHOWN]), *_left_out(files[FILES_SHOWN:])],
        *(_explained(file) for file in files[:FILES_EXPLAINED]),
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
        "| file | result | rows | loaded | rejected |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for file in files:
        cells = [
            markdown_text(one_line(file.name, NAME_SHOWN)),
            verb(file),
            *(f"{count:,}" for count in (file.rows, file.loaded, file.rejected)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _left_out(files: Sequence[FileReport]) -> list[str]:
    if not files:
        return []
    rows = rows_text(sum(file.rows for file in files))
    return ["", f"… and {len(files):,} more files with {rows}; `sensor-ingest history` shows them all."]


def _explained(file: FileReport) -> list[str]:
    parts = [f"### {markdown_text(one_line(file.name))}: {result(file)}"]
    if file.problem:
        parts.append(markdown_text(one_line(file.problem, PROBLEM_SHOWN)))
    if file.reasons:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(file.reasons.items()))
        parts.append(f"{rows_text(file.rejected)} rejected: {markdown_text(reasons)}")
    if file.first_rejects:
        parts.append("\n".join(_examples(file)))
    addresses = [("From", file.uri), ("Now at", file.archived_to), ("Rejected rows", file.rejects_at)]
    parts.append("\n".join(f"- {where} {markdown_text(one_line(at, ADDRESS_SHOWN))}" for where, at in addresses if at))
    return ["\n\n".join(parts)]


def _examples(file: FileReport) -> list[str]:
    lines = ["| line | reason | text |", "| ---: | --- | --- |"]
    lines += [
        f"| {reject.line:,} | {markdown_text(reject.reason)} | {markdown_text(one_line(reject.text))} |"
        for reject in file.first_rejects
    ]
    more = file.rejected - len(file.first_rejects)
    return [*lines, "", f"… and {rows_text(more)} more"] if more > 0 else lines
