"""Rules about rows: which lines of a file are readings, and which are refused and why.

Pure: nothing in here knows Prefect or AWS. `validation` tells the story; `docs/decisions/` says why it is told so.
"""

from flows.rows.rules import COLUMNS, REASONS, Reason, RowRules
from flows.rows.validation import ValidatedFile, validate_file

__all__ = ["COLUMNS", "REASONS", "Reason", "RowRules", "ValidatedFile", "validate_file"]
