"""How results are worded and pictured: titles, headlines, the plot, the page in the Prefect UI. Pure, no I/O."""

from flows.report.run_page import markdown_page
from flows.report.titles import email_run_name, headline, outcome, report_of_error, run_title

__all__ = [
    "email_run_name",
    "headline",
    "markdown_page",
    "outcome",
    "report_of_error",
    "run_title",
]
