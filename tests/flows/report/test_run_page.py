"""The page about a run in the Prefect UI."""

import re
from base64 import b64decode
from typing import Any

import pytest

from blocks.domain.models import Reject
from flows.report import markdown_page
from flows.report.run_page import FILES_SHOWN
from tests.flows.report.reports import HOSTILE, MISSING, REFUSED, SUMMARY, Tags, as_read, report


def unescaped(page: str) -> str:
    """What is left for Markdown to give a meaning to."""
    return re.sub(r"\\[^A-Za-z0-9\s]", "", page)


def test_the_page_has_a_table_row_for_each_file_and_the_addresses_of_each() -> None:
    page = as_read(markdown_page([report(archived_to="s3://landing/processed/sensors.csv"), MISSING])).splitlines()
    assert "## 2 files: 1 loaded, 1 missing" == page[0]
    assert "2 files, 8 rows: 7 loaded, 1 replaced by a later row with the same key, 0 rejected" == page[2]
    assert "| missing | 0 | 0 | 0 | gone.csv |" == page[6]
    assert "| loaded | 8 | 7 | 0 | sensors.csv |" == page[7]
    assert "s3://landing/incoming/gone.csv does not exist" in page
    assert "- Now at s3://landing/processed/sensors.csv" in page


@pytest.mark.parametrize("field", ["name", "archived_to", "problem"])
def test_nothing_from_outside_means_anything_to_markdown_or_html(field: str) -> None:
    hostile = HOSTILE.replace("/", "")  # a name ends at a slash
    page = markdown_page([report().model_copy(update={"key" if field == "name" else field: hostile}), MISSING])
    assert [] == Tags(page).found
    row = next(line for line in page.splitlines() if line.startswith("| loaded | 8 | 7 | 0 |"))
    assert 6 == unescaped(row).count("|")
    lines = [line for line in page.splitlines() if "alert" in line]
    assert lines
    for line in lines:
        assert set() == set("*`[]~_\\") & set(unescaped(line).removeprefix("- "))
    assert not re.search(r"https?:|www\.|[^\s\\]@\S", page, re.IGNORECASE)
    assert hostile in as_read(page)


def test_the_page_about_one_file_says_once_what_became_of_it() -> None:
    page = as_read(markdown_page([report()]))
    assert (1, 0) == (page.count("sensors.csv: 7 rows loaded"), page.count("| file |"))


@pytest.mark.parametrize("field", ["reason", "text", "rejects_at"])
def test_nothing_of_an_example_means_anything_to_markdown_or_html(field: str) -> None:
    known: dict[str, Any] = {"line": 1, "reason": "r", "text": "t"}
    reject = Reject.model_validate(known | ({field: HOSTILE} if field in known else {}))
    rejected = report(lines=9, rows=9, rejected=1, first_rejects=[reject], rejects_at="s3://a/b", reasons={"value": 1})
    page = markdown_page([rejected.model_copy(update={"rejects_at": HOSTILE}) if field == "rejects_at" else rejected])
    assert [] == Tags(page).found
    assert not re.search(r"https?:|www\.|[^\s\\]@\S", page, re.IGNORECASE)
    line = next(line for line in page.splitlines() if "alert" in line)
    assert set() == set("*`[]~_\\") & set(unescaped(line))
    assert unescaped(line).count("|") == (0 if field == "rejects_at" else 4)


def test_the_page_shows_the_reasons_and_examples_of_rejected_rows() -> None:
    rejects = [Reject(line=number, reason="value", text=f"row {number}") for number in range(1, 11)]
    rejected = report(
        lines=100,
        rows=100,
        accepted=88,
        replaced=0,
        rejected=12,
        reasons={"value": 11, "encoding": 1},
        first_rejects=rejects,
        rejects_at="s3://landing/rejects/a.csv",
    )
    page = as_read(markdown_page([rejected]))
    assert page.startswith("## sensors.csv: 88 rows loaded, 12 rejected\n")
    assert "12 rows rejected: encoding 1, value 11\n" in page
    assert "| 10 | value | row 10 |\n\n… and 2 rows more\n\n" in page
    assert "- Rejected rows s3://landing/rejects/a.csv" in page


def test_a_page_about_many_files_shows_the_most_urgent_and_counts_the_others() -> None:
    page = as_read(markdown_page([*[report()] * 498, REFUSED, MISSING]))
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.endswith(".csv |")]
    assert FILES_SHOWN == len(rows)
    assert [("missing", "gone.csv"), ("refused", "bad.csv")] == [(row[0], row[-1]) for row in rows[:2]]
    assert "… and 400 more files with 3,200 rows" in page


def test_the_page_has_a_plot_only_if_a_file_has_a_timeline() -> None:
    page = markdown_page([report(summary=SUMMARY)])
    [picture] = re.findall(r"!\[[^\]]*\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", page)
    assert b64decode(picture).startswith(b"\x89PNG")
    assert "data:" not in markdown_page([REFUSED])
