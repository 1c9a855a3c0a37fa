"""What people are told, word by word."""

from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from flows.errors import ObjectMissingError
from flows.models import FileReport, FileStatus, Reject, SensorFile
from flows.report import email_text, headline, markdown_page, outcome, report_of_error, run_title

HOSTILE = 'x"><script>alert(1)</script>|**b**`c`[d](javascript:e)_f_.csv'


def report(status: FileStatus = "archived", name: str = "sensors.csv", **known: Any) -> FileReport:  # noqa: ANN401
    """The tutorial's sample, loaded; what is known otherwise takes the place of its counts."""
    counts = {"lines": 8, "rows": 8, "accepted": 7, "replaced": 1} if status == "archived" else {}
    return FileReport.model_validate(
        {"bucket": "landing", "key": f"incoming/{name}", "status": status, **counts, **known}
    )


REFUSED = report("refused", "bad.csv", lines=4, rows=4, accepted=1, rejected=3, problem="3 of 4 rows break a rule")
MISSING = report("missing", "gone.csv", problem="s3://landing/incoming/gone.csv does not exist")
AGAIN = report(name="old.csv", already_done=True)


# ---- Titles, subjects, states -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "names"),
    [("a.csv", ["a.csv"]), ("a.csv and 1 more", ["a.csv", "b.csv"]), ("a.csv and 2 more", ["a.csv", "b.csv", "c.csv"])],
)
def test_a_run_is_named_after_its_first_file_and_counts_the_others(title: str, names: list[str]) -> None:
    assert title == run_title(names)


@pytest.mark.parametrize(
    ("subject", "one"),
    [
        ("sensors.csv: 7 rows loaded", report()),
        ("sensors.csv: 1 row loaded", report(lines=1, rows=1, accepted=1, replaced=0)),
        (
            "sensors.csv: 9,000 rows loaded, 1,000 rejected",
            report(lines=10**4, rows=10**4, accepted=9000, replaced=0, rejected=1000),
        ),
        ("bad.csv: refused", REFUSED),
        ("gone.csv: missing", MISSING),
        ("sensors.csv: failed", report("failed")),
        ("old.csv: loaded before, nothing to do", AGAIN),
        ("bad.csv: refused before", REFUSED.model_copy(update={"already_done": True})),
    ],
)
def test_the_subject_about_one_file_names_it_and_its_result(subject: str, one: FileReport) -> None:
    assert subject == headline([one])


@pytest.mark.parametrize(
    ("subject", "several"),
    [
        ("2 files: 2 loaded", [report(), report()]),
        ("3 files: 2 loaded, 1 refused", [REFUSED, report(), report()]),
        ("3 files: 1 loaded, 1 refused, 1 missing", [report(), REFUSED, MISSING]),
        ("2 files: 2 loaded; 3 rows rejected", [report(), report(rows=11, lines=11, accepted=7, rejected=3)]),
        ("2 files: 1 loaded before, 1 refused before", [AGAIN, REFUSED.model_copy(update={"already_done": True})]),
    ],
)
def test_the_subject_about_several_files_counts_their_results(subject: str, several: list[FileReport]) -> None:
    assert subject == headline(several)


@pytest.mark.parametrize(
    ("state", "reports"),
    [
        ("Completed", [report(), AGAIN]),
        ("AlreadyLoaded", [AGAIN, AGAIN]),
        ("PartlyRejected", [report(), REFUSED]),
        ("PartlyRejected", [report(rows=8, accepted=6, replaced=1, rejected=1)]),
        ("AlreadyLoaded", [REFUSED.model_copy(update={"already_done": True})]),
        ("PartlyFailed", [report(), REFUSED, MISSING]),
        ("Failed", [MISSING, report("failed")]),
    ],
)
def test_a_run_ends_in_a_state_that_is_named_after_its_worst_file(state: str, reports: list[FileReport]) -> None:
    assert state == outcome(reports)


# ---- Errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "problem", "error"),
    [
        (
            "missing",
            "s3://landing/incoming/a.csv does not exist",
            ObjectMissingError("s3://landing/incoming/a.csv", 15),
        ),
        ("failed", "disk full", OSError("disk full")),
        ("failed", "KeyError", KeyError()),
    ],
)
def test_an_error_becomes_a_report_that_says_what_was_wrong(status: str, problem: str, error: Exception) -> None:
    told = report_of_error(SensorFile.model_validate("s3://landing/incoming/a.csv"), error)
    assert (status, "s3://landing/incoming/a.csv") == (told.status, told.uri)
    assert (told.problem or "").startswith(problem)


# ---- The email ----------------------------------------------------------------------------------------------------


def test_the_email_accounts_for_every_row_and_says_where_the_file_is() -> None:
    told = report(
        rows=9,
        lines=9,
        rejected=1,
        reasons={"value": 1},
        first_rejects=[Reject(line=3, reason="value", text="0000-0001,1483906366,abc")],
        archived_to="s3://landing/processed/sensors.csv",
        rejects_at="s3://landing/rejects/sensors.csv.rejects.csv",
    )
    assert (
        "sensors.csv: 7 rows loaded, 1 rejected\n"
        "  9 rows: 7 loaded, 1 replaced by a later row with the same sensor and time, 1 rejected\n"
        "  value: 1 row\n"
        "  line 3: 0000-0001,1483906366,abc (value)\n"
        "  from s3://landing/incoming/sensors.csv\n"
        "  now at s3://landing/processed/sensors.csv\n"
        "  rejected rows at s3://landing/rejects/sensors.csv.rejects.csv\n"
    ) == email_text([told])


def test_the_email_about_a_refused_file_says_why_and_that_nothing_was_loaded() -> None:
    assert (
        "bad.csv: refused\n"
        "  why: 3 of 4 rows break a rule\n"
        "  4 rows, 3 of them break a rule; nothing was loaded\n"
        "  from s3://landing/incoming/bad.csv\n"
    ) == email_text([REFUSED])


def test_the_email_names_every_file() -> None:
    firsts = [paragraph.partition(":")[0] for paragraph in email_text([report(), REFUSED, MISSING]).split("\n\n")]
    assert ["sensors.csv", "bad.csv", "gone.csv"] == firsts


def test_a_long_row_is_cut_and_control_characters_in_it_are_spelled_out() -> None:
    rejects = [Reject(line=1, reason="value", text="\x1b[31m\x00" + "é" * 200)]
    [line] = [line for line in email_text([report(first_rejects=rejects)]).splitlines() if "line 1" in line]
    assert f"  line 1: \\x1b[31m\\x00{'é' * 88}… (value)" == line


@pytest.mark.parametrize("control", ["\n", "\r\n", "\x1b", "\x00", "\u2028", "\u202e", "\x85"])
def test_a_key_with_control_characters_forges_no_line_of_email_or_title(control: str) -> None:
    forged = report(name=f"a{control}evil.csv: 7 rows loaded", problem=f"b{control}c")
    lines = email_text([forged]).splitlines()
    assert ["a", "  why", "  8 rows", "  from s3"] == [line.partition("\\")[0].partition(":")[0] for line in lines]
    for text in (*lines, headline([forged]), run_title([forged.name]), *markdown_page([forged]).split("\n")):
        assert control not in text


def test_a_name_too_long_for_a_title_is_cut() -> None:
    assert f"{'n' * 100}…: 7 rows loaded" == headline([report(name="n" * 1000)])


# ---- The page in the Prefect UI -----------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags that a browser would see in a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"{tag} {attrs}")


def test_the_page_is_a_table_with_a_row_for_each_file() -> None:
    page = markdown_page([report(archived_to="s3://landing/processed/sensors.csv"), MISSING]).splitlines()
    page = [unescape(line) for line in page]
    assert "## 2 files: 1 loaded, 1 missing" == page[0]
    assert "2 files, 8 rows: 7 loaded, 1 replaced by a later row, 0 rejected" == page[2]
    assert "| gone.csv | missing | 0 | 0 | 0 | 0 | s3://landing/incoming/gone.csv does not exist |" == page[6]
    assert "| sensors.csv | loaded | 8 | 7 | 1 | 0 | s3://landing/processed/sensors.csv |" == page[7]


@pytest.mark.parametrize("field", ["name", "archived_to", "problem"])
def test_nothing_from_outside_means_anything_to_markdown_or_html(field: str) -> None:
    page = markdown_page([report().model_copy(update={"key" if field == "name" else field: HOSTILE})])
    row = page.splitlines()[-1]
    assert [] == Tags(page).found
    assert 8 == row.count("|")
    assert set() == set("*`[]~_\\") & set(row)
