"""`sensor-ingest doctor`: everything that a run needs, looked at one by one, and what to do about what is missing."""

from deployments.doctor.examination import all_checks, examine
from deployments.doctor.findings import Finding, as_document, as_text, is_healthy

__all__ = ["Finding", "all_checks", "as_document", "as_text", "examine", "is_healthy"]
