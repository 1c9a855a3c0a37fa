"""Totals of rows, as people read them."""

from flows.report.wording import row_totals
from tests.flows.report.reports import MISSING, REFUSED, report


def test_totals_count_every_row_of_every_file_once_and_good_rows_of_a_refused_file_apart() -> None:
    assert (
        "12 rows: 7 loaded, 1 replaced by a later row with the same key, 3 rejected, 1 valid but not loaded"
    ) == row_totals([report(), REFUSED, MISSING])


def test_totals_of_loaded_files_do_not_mention_rows_that_are_not_loaded() -> None:
    assert "1 row: 1 loaded, 0 replaced by a later row with the same key, 0 rejected" == row_totals(
        [report(lines=1, rows=1, accepted=1, replaced=0)]
    )
