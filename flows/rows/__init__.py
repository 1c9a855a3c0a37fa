"""Validation of files: which lines are items, which are rejected, and the reason for each reject.

Pure: no module of this package imports Prefect or boto3. `validation.py` is the entry point.
"""

from flows.rows.settings import ValidationSettings
from flows.rows.validation import ValidatedFile, validate_file

__all__ = ["ValidatedFile", "ValidationSettings", "validate_file"]
