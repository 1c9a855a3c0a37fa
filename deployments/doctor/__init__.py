"""`sensor-ingest doctor`: checks of everything that a run needs, each with the remedy for its problem."""

from deployments.doctor.check_results import CheckResult, as_document, as_text, is_healthy
from deployments.doctor.runner import all_checks, run_checks

__all__ = ["CheckResult", "all_checks", "as_document", "as_text", "is_healthy", "run_checks"]
