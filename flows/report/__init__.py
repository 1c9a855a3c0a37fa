"""Results as text and plots: names, headlines, templates, the page in the Prefect UI. Pure, no network."""

from flows.report.run_page import markdown_page
from flows.report.titles import email_run_name, final_state_name, headline, ingest_run_name, report_of_error

__all__ = [
    "email_run_name",
    "final_state_name",
    "headline",
    "ingest_run_name",
    "markdown_page",
    "report_of_error",
]
