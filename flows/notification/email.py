"""The email: plain text, and HTML that is legible on a phone. Whatever comes from outside is escaped in both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from blocks.domain.models import FileReport
from blocks.domain.text import printable
from flows.report.plot import png
from flows.report.titles import headline, result
from flows.report.wording import (
    ADDRESS_SHOWN,
    PROBLEM_SHOWN,
    REJECTS_SHOWN,
    caption,
    coverage,
    covered,
    html_text,
    most_urgent_first,
    one_line,
    rows_text,
    short,
)

FILES_SHOWN: Final = 50
"""Files that the email tells of one by one; the ledger knows them all."""

HTML_BYTES: Final = 90_000
"""Room for HTML. Gmail hides what comes after 102 kB of a message, and the end of it with that."""

PLOT_ID: Final = "readings"
"""Name under which the HTML refers to the plot."""

# Mail programs drop style sheets, so each element carries its own style. Grounds and inks contrast as WCAG's AA asks.
_GOOD, _SOME, _BAD = ("#ecfdf3", "#05603a"), ("#fffaeb", "#93370d"), ("#fef3f2", "#912018")
_PAGE = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light"><title>{title}</title></head>'
    '<body style="margin:0;padding:0;background:#f2f4f7">'
    '<div style="max-width:600px;margin:0 auto;padding:12px;font:16px/1.45 -apple-system,Segoe UI,Roboto,Helvetica,'
    'Arial,sans-serif;color:#1d2939;overflow-wrap:anywhere;word-break:break-word">{body}</div></body></html>'
)
_CARD = '<div style="background:#ffffff;border:1px solid #d0d5dd;border-radius:10px;padding:14px 16px;margin:0 0 12px">'
_SMALL = 'style="margin:6px 0 0;font-size:14px;color:#475467"'
_BADGE = "display:inline-block;margin:6px 0 0;padding:2px 10px;border-radius:10px;font-size:14px;"
_CODE = (
    'style="margin:6px 0 0;padding:8px 10px;background:#f2f4f7;border-radius:6px;'
    'font:13px/1.4 ui-monospace,Menlo,Consolas,monospace;color:#1d2939"'
)


@dataclass(frozen=True)
class Letter:
    """What is mailed: the same in plain text and in HTML, which shows `pictures` by their names (`cid:…`)."""

    subject: str
    text: str
    html: str | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG files."""


def letter_about(reports: Sequence[FileReport], pages: Sequence[tuple[str, str]] = ()) -> Letter:
    """The email about these files; `pages` are titles and addresses of pages to look at."""
    summary = covered(reports)
    plot, pictures = "", {}
    if summary and summary.timeline:
        plot = _plot(caption(summary))
        pictures[PLOT_ID] = png(summary.timeline, summary.first, summary.last)
    return Letter(headline(reports), email_text(reports, FILES_SHOWN, pages), _html(reports, plot, pages), pictures)


def email_text(
    reports: Sequence[FileReport], most_files: int | None = None, pages: Sequence[tuple[str, str]] = ()
) -> str:
    """The files as plain text, a paragraph for each; the most urgent first where they are more than `most_files`."""
    shown = list(reports)
    if most_files is not None and len(shown) > most_files:
        shown = most_urgent_first(shown)[:most_files]
    paragraphs = ["\n".join(_paragraph(report)) for report in shown]
    if len(shown) < len(reports):
        paragraphs = [_totals(reports), *paragraphs, _left_out(len(reports) - len(shown))]
    if pages:
        paragraphs.append("\n".join(f"{title}: {printable(address)}" for title, address in pages))
    return "\n\n".join(paragraphs) + "\n"


def _paragraph(report: FileReport) -> list[str]:
    lines = [f"{short(report.name)}: {result(report)}"]
    if report.problem:
        lines.append(f"  why: {one_line(report.problem, PROBLEM_SHOWN)}")
    if report.lines:
        lines.append(f"  {_account(report)}")
    lines += [f"  {reason}: {rows_text(count)}" for reason, count in sorted(report.reasons.items())]
    lines += [
        f"  line {reject.line}: {short(reject.text)} ({reject.reason})"
        for reject in report.first_rejects[:REJECTS_SHOWN]
    ]
    if report.loaded and not report.already_done and report.summary:
        lines.append(f"  {coverage([report])}")
    return lines + [f"  {where} {printable(address)}" for where, address in _places(report)]


def _account(report: FileReport) -> str:
    if report.status == "refused":
        return f"{report.rows:,} rows, {report.rejected:,} of them break a rule; nothing was loaded"
    return (
        f"{report.rows:,} rows: {report.accepted:,} loaded, {report.replaced:,} replaced by a later row with the "
        f"same sensor and time, {report.rejected:,} rejected"
    )


def _places(report: FileReport) -> list[tuple[str, str]]:
    places = [("from", report.uri), ("now at", report.archived_to), ("rejected rows at", report.rejects_at)]
    return [(where, address) for where, address in places if address]


def _totals(reports: Sequence[FileReport]) -> str:
    rows, loaded = sum(report.rows for report in reports), sum(report.loaded for report in reports)
    replaced, rejected = sum(report.replaced for report in reports), sum(report.rejected for report in reports)
    return (
        f"{rows_text(rows)}: {loaded:,} loaded, {replaced:,} replaced by a later row with the same sensor and time, "
        f"{rejected:,} rejected"
    )


def _left_out(files: int) -> str:
    more = f"{files:,} more file{'s are' if files > 1 else ' is'} not shown here"
    return f"… {more}: `sensor-ingest history` and the run's page tell of all."


def _html(reports: Sequence[FileReport], plot: str, pages: Sequence[tuple[str, str]]) -> str:
    top = [
        f'{_CARD}<h1 style="margin:0;font-size:20px;line-height:1.3">{html_text(headline(reports))}</h1>',
        f"<p {_SMALL}>{html_text(_totals(reports))}</p>",
        f"<p {_SMALL}>{html_text(coverage(reports))}</p>" if coverage(reports) else "",
        "</div>",
        plot,
    ]
    end = [_buttons(pages)]
    room = HTML_BYTES - len("".join([_PAGE, *top, *end]).encode())
    cards: list[str] = []
    for report in most_urgent_first(reports)[:FILES_SHOWN]:
        card = _card(report)
        room -= len(card.encode())
        if room < 0:
            break
        cards.append(card)
    if len(cards) < len(reports):
        cards.append(f"<p {_SMALL}>{html_text(_left_out(len(reports) - len(cards)))}</p>")
    return _PAGE.format(title=html_text(headline(reports)), body="".join([*top, *cards, *end]))


def _card(report: FileReport) -> str:
    ground, ink = _colours(report)
    parts = [
        f'{_CARD}<p style="margin:0;font-weight:600">{html_text(one_line(report.name))}</p>',
        f'<p style="{_BADGE}background:{ground};color:{ink}">{html_text(result(report))}</p>',
    ]
    if report.problem:
        parts.append(f'<p style="margin:6px 0 0">{html_text(one_line(report.problem, PROBLEM_SHOWN))}</p>')
    if report.lines:
        parts.append(f"<p {_SMALL}>{html_text(_account(report))}</p>")
    if report.reasons:
        reasons = ", ".join(f"{reason}: {rows_text(count)}" for reason, count in sorted(report.reasons.items()))
        parts.append(f"<p {_SMALL}>{html_text(reasons)}</p>")
    parts += [
        f"<p {_CODE}>line {reject.line:,}, {html_text(reject.reason)}<br>{html_text(one_line(reject.text))}</p>"
        for reject in report.first_rejects[:REJECTS_SHOWN]
    ]
    parts += [
        f"<p {_SMALL}>{where}<br>{html_text(one_line(address, ADDRESS_SHOWN))}</p>"
        for where, address in _places(report)
    ]
    return "".join([*parts, "</div>"])


def _colours(report: FileReport) -> tuple[str, str]:
    if report.status in ("failed", "missing", "refused"):
        return _BAD
    return _SOME if report.rejected or report.status != "archived" else _GOOD


def _plot(words: str) -> str:
    return (
        f'<img src="cid:{PLOT_ID}" alt="{html_text(words)}" width="600" '
        f'style="display:block;width:100%;max-width:600px;height:auto;border:0">'
        f'<p style="margin:4px 4px 12px;font-size:14px;color:#475467">{html_text(words)}</p>'
    )


def _buttons(pages: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f'<a href="{html_text(address)}" style="display:block;margin:0 0 12px;padding:12px;border-radius:8px;'
        f'background:#175cd3;color:#ffffff;text-align:center;text-decoration:none">{html_text(title)}</a>'
        for title, address in pages
    )
