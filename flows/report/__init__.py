"""How results are told: titles, headlines, the email, the page in the Prefect UI. Pure text and pictures, no I/O."""

from flows.notification.email import Letter, email_text, letter_about
from flows.notification.run_parameters import within_parameters
from flows.report.run_page import markdown_page
from flows.report.titles import email_run_name, headline, outcome, report_of_error, run_title

__all__ = [
    "Letter",
    "email_run_name",
    "email_text",
    "headline",
    "letter_about",
    "markdown_page",
    "outcome",
    "report_of_error",
    "run_title",
    "within_parameters",
]
