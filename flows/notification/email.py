"""The email about the files of a run: plain text, and HTML that is legible on a phone."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blocks.domain.models import FileReport
from flows.report.plot import Plot, plots_of
from flows.report.templates import template
from flows.report.titles import headline
from flows.report.wording import coverage_texts, most_urgent_first, row_totals

FILES_SHOWN: Final = 50
"""Most files with a paragraph of their own; the ledger lists all of them."""

HTML_BYTES: Final = 90_000
"""Most bytes of HTML. Gmail clips a message after 102 kB, and the end of it is lost."""

PLOT_ID: Final = "plot"
"""Content ids under which the HTML refers to the plots start with it."""

Links = Sequence[tuple[str, str]]
"""Titles and addresses of pages."""


@dataclass(frozen=True)
class Email:
    """A subject, and the same message in plain text and in HTML, which refers to `pictures` by name (`cid:NAME`)."""

    subject: str
    text: str
    html: str
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG files by name."""


def compose_email(reports: Sequence[FileReport], links: Links = ()) -> Email:
    """The email about these files, with a plot for each feed whose rows have a timeline."""
    plots = {f"{PLOT_ID}-{number}": plot for number, plot in enumerate(plots_of(reports), start=1)}
    return Email(
        headline(reports),
        email_text(reports, FILES_SHOWN, links),
        _email_html(reports, plots, links),
        {plot_id: plot.png for plot_id, plot in plots.items()},
    )


def email_text(reports: Sequence[FileReport], most_files: int | None = None, links: Links = ()) -> str:
    """The files as plain text, a paragraph each; only the most urgent `most_files` if there are more."""
    shown = reports
    if most_files is not None and len(reports) > most_files:
        shown = most_urgent_first(reports)[:most_files]
    text = template(Path(__file__).with_name("email.txt.j2")).render(
        files=shown, left_out=len(reports) - len(shown), totals=row_totals(reports), links=links
    )
    return text.strip() + "\n"


def _email_html(reports: Sequence[FileReport], plots: Mapping[str, Plot], links: Links) -> str:
    """The HTML with as many of the most urgent files as `FILES_SHOWN` and `HTML_BYTES` leave room for."""
    page = template(Path(__file__).with_name("email.html.j2"))
    files = most_urgent_first(reports)[:FILES_SHOWN]
    about_all = {
        "headline": headline(reports),
        "totals": row_totals(reports),
        "coverage": coverage_texts(reports),
        "plots": list(plots.items()),
        "links": links,
    }

    def html_of(count: int) -> str:
        return page.render(about_all, files=files[:count], left_out=len(reports) - count)

    fitting = bisect_right(range(1, len(files) + 1), HTML_BYTES, key=lambda count: len(html_of(count).encode()))
    return html_of(fitting)
