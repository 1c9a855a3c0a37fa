"""The page about a run in the Prefect UI."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blocks.domain.models import FileReport
from flows.report.plot import plots_of
from flows.report.templates import template
from flows.report.titles import headline
from flows.report.wording import most_urgent_first

FILES_SHOWN: Final = 100
"""Most files in the table."""
FILES_EXPLAINED: Final = 10
"""Most files whose problem, rejected rows and addresses are shown below the table."""
NAME_SHOWN: Final = 48
"""Characters of a name in the table, whose last column it is: the Prefect UI wraps no cell, and scrolls instead."""


def markdown_page(reports: Sequence[FileReport]) -> str:
    """The run's page as Markdown: result, totals, plots, a table of several files, and examples of rejected rows."""
    files = most_urgent_first(reports)
    return template(Path(__file__).with_name("run_page.md.j2")).render(
        headline=headline(reports),
        reports=reports,
        plots=[(plot.caption, b64encode(plot.png).decode()) for plot in plots_of(reports)],
        files=files[:FILES_SHOWN],
        left_out=files[FILES_SHOWN:],
        explained=files[:FILES_EXPLAINED],
        name_shown=NAME_SHOWN,
    )
