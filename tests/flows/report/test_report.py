"""The texts of names, headlines, emails and pages."""

import re
from base64 import b64decode
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from blocks.domain.errors import ObjectMissingError
from blocks.domain.models import FileReport, FileStatus, Reject, SensorFile
from blocks.domain.readings_summary import ReadingsSummary, Timeline
from flows.notification.email import PLOT_ID, compose_email, email_text
from flows.report import final_state_name, headline, ingest_run_name, markdown_page, report_of_error
from flows.report.run_page import FILES_SHOWN
from flows.report.wording import row_totals

HOSTILE = """x"'><script>alert(1)</script>|**b**`c`[d](javascript:e)_f_ http://g WWW.h.i j@k.l ~m~ \\.csv"""


def report(status: FileStatus = "archived", name: str = "sensors.csv", **known: Any) -> FileReport:  # noqa: ANN401
    """The tutorial's sample, loaded; what is known otherwise takes the place of its counts."""
    counts = {"lines": 8, "rows": 8, "accepted": 7, "replaced": 1} if status == "archived" else {}
    return FileReport.model_validate(
        {"bucket": "landing", "key": f"incoming/{name}", "status": status, **counts, **known}
    )


SUMMARY = ReadingsSummary(
    sensors=5,
    first=1_483_906_366,
    last=1_483_908_322,
    timeline=Timeline(
        width=64,
        first=23_186_036,
        at=[0, 31],
        counts=[5, 2],
        lows=["-5.1", "-12.93"],
        means=["1", "2"],
        highs=["3", "340"],
    ),
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
    assert title == ingest_run_name(names)


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
    assert state == final_state_name(reports)


def test_what_is_no_news_does_not_decide_the_state_of_the_run() -> None:
    assert "Completed" == final_state_name([report(), report("failed", already_done=True)])


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
def test_a_load_that_raised_an_error_is_reported_with_its_problem(status: str, problem: str, error: Exception) -> None:
    failed = report_of_error(SensorFile.model_validate("s3://landing/incoming/a.csv"), error)
    assert (status, "s3://landing/incoming/a.csv") == (failed.status, failed.uri)
    assert (failed.problem or "").startswith(problem)


# ---- The email ----------------------------------------------------------------------------------------------------


def test_the_email_counts_every_row_and_has_the_addresses_of_the_file() -> None:
    rejected = report(
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
        "  9 rows: 7 loaded, 1 replaced by a later row with the same key, 1 rejected\n"
        "  value: 1 row\n"
        "  line 3: 0000-0001,1483906366,abc (value)\n"
        "  from s3://landing/incoming/sensors.csv\n"
        "  now at s3://landing/processed/sensors.csv\n"
        "  rejected rows at s3://landing/rejects/sensors.csv.rejects.csv\n"
    ) == email_text([rejected])


def test_email_and_page_say_that_more_rows_are_rejected_than_stored() -> None:
    rejected = report(lines=25_008, rows=25_008, rejected=25_000, rejects_stored=10_000, rejects_at="s3://a/b")
    assert "  first 10,000 of 25,000 rejected rows at s3://a/b\n" in email_text([rejected])
    assert "first 10,000 of 25,000 rejected rows at<br>s3://a/b" in compose_email([rejected]).html
    assert "- First 10,000 of 25,000 rejected rows s3://a/b\n" in as_read(markdown_page([rejected]))


def test_email_and_page_name_rejects_that_are_all_stored_without_a_number() -> None:
    rejected = report(lines=11, rows=11, rejected=3, rejects_stored=3, rejects_at="s3://a/b")
    assert "  rejected rows at s3://a/b\n" in email_text([rejected])
    assert "- Rejected rows s3://a/b\n" in as_read(markdown_page([rejected]))


def test_the_email_about_a_refused_file_has_the_reason_and_no_loaded_rows() -> None:
    assert (
        "bad.csv: refused\n"
        "  why: 3 of 4 rows break a rule\n"
        "  4 rows: 0 loaded, 0 replaced by a later row with the same key, 3 rejected, "
        "1 valid but not loaded\n"
        "  from s3://landing/incoming/bad.csv\n"
    ) == email_text([REFUSED])


def test_the_email_names_every_file() -> None:
    firsts = [paragraph.partition(":")[0] for paragraph in email_text([report(), REFUSED, MISSING]).split("\n\n")]
    assert ["sensors.csv", "bad.csv", "gone.csv"] == firsts


def test_the_email_shows_the_sensors_and_times_of_the_readings_and_links_to_the_run() -> None:
    text = compose_email([report(summary=SUMMARY)], [("The run", "http://127.0.0.1/runs/1")]).text
    assert "  5 values of sensor_id, timestamp from 2017-01-08 20:12:46 to 2017-01-08 20:45:22 UTC\n" in text
    assert text.endswith("\nThe run: http://127.0.0.1/runs/1\n")


def test_an_email_about_many_files_lists_the_most_urgent_and_totals_the_rows_of_all() -> None:
    many = [*[report()] * 480, *[REFUSED] * 10, *[MISSING] * 10]
    email = compose_email(many)
    assert "500 files: 480 loaded, 10 refused, 10 missing" == email.subject
    paragraphs = email.text.split("\n\n")
    assert paragraphs[0].startswith("3,880 rows: 3,360 loaded, 480 replaced")
    assert (["gone.csv"] * 10) + (["bad.csv"] * 10) == [each.partition(":")[0] for each in paragraphs[1:21]]
    assert "450 more files are not shown here" in paragraphs[-1]
    assert email.html
    assert "450 more files are not shown here" in email.html
    assert email.html.index("gone.csv") < email.html.index("bad.csv") < email.html.index("sensors.csv")


def test_an_email_about_files_with_the_longest_names_and_texts_is_not_clipped() -> None:
    reject = Reject(line=1, reason="value", text="<&\"'>" * 200)
    longest = report(
        name="\"<'&" * 250,
        rows=9,
        lines=9,
        rejected=9,
        first_rejects=[reject] * 10,
        problem="<" * 9000,
        status="failed",
        archived_to="<" * 1024,
    )
    html = compose_email([longest] * 500).html
    assert html
    assert 50_000 < len(html.encode()) < 100_000
    assert "more files are not shown here" in html


def test_an_email_has_a_plot_only_if_a_file_has_a_timeline() -> None:
    with_plot, without = compose_email([report(summary=SUMMARY)]), compose_email([REFUSED])
    assert [f"{PLOT_ID}-1"] == list(with_plot.pictures)
    assert (1, 0) == tuple((email.html or "").count(f"cid:{PLOT_ID}-1") for email in (with_plot, without))
    assert {} == without.pictures


def test_files_of_two_feeds_have_a_plot_and_a_sentence_each_with_the_names_of_their_fields() -> None:
    names = {"partition_field": "station", "time_field": "at", "value_field": "temperature"}
    weather = SUMMARY.model_copy(update={"sensors": None, "first": -1, **names})
    email = compose_email([report(summary=SUMMARY), report(summary=weather), report(summary=weather)])
    html = email.html or ""
    assert 2 == len(email.pictures)
    assert "at least 5 values of sensor_id, timestamp from 2017-01-08 20:12:46" in html
    assert "more than 1,048,576 values of station, at from 1969-12-31 23:59:59" in html
    assert "temperature over at: mean, and lowest to highest" in html


def test_a_feed_without_a_number_has_no_plot() -> None:
    summary = SUMMARY.model_copy(update={"timeline": None, "value_field": None})
    assert {} == compose_email([report(summary=summary)]).pictures


def test_the_plot_leaves_out_readings_that_an_earlier_run_loaded() -> None:
    assert {} == compose_email([report(summary=SUMMARY, already_done=True)]).pictures


def test_the_email_shows_the_sensors_and_times_of_several_files_together() -> None:
    later = SUMMARY.model_copy(update={"sensors": 2, "last": SUMMARY.last + 3600})
    text = compose_email([report(summary=SUMMARY), report(summary=later), REFUSED]).html or ""
    assert "at least 5 values of sensor_id, timestamp from 2017-01-08 20:12:46 to 2017-01-08 21:45:22 UTC" in text


@pytest.mark.parametrize("field", ["name", "archived_to", "rejects_at", "problem", "text", "reason", "reasons", "page"])
def test_nothing_from_outside_means_anything_to_the_html_of_an_email(field: str) -> None:
    harmless = "harmless"

    def tags(text: str) -> list[str]:
        text = text.replace("/", "")  # a name ends at a slash
        known: dict[str, Any] = {"name": text} if field == "name" else {}
        if field in ("archived_to", "rejects_at", "problem"):
            known[field] = text
        if field in ("text", "reason"):
            known["first_rejects"] = [Reject.model_validate({"line": 1, "reason": "r", "text": "t", field: text})]
        if field == "reasons":
            known["reasons"] = {text: 1}
        email = compose_email([report(**known)], [("title", text if field == "page" else "http://a")])
        assert email.html
        assert text not in email.html or text == harmless
        return [tag.partition(" ")[0] for tag in Tags(email.html).found]

    assert tags(harmless) == tags(HOSTILE)


@pytest.mark.parametrize("control", ["\x1b", "\x00", "\u202e", "\x85"])
def test_control_characters_reach_neither_html_nor_page(control: str) -> None:
    reject = Reject(line=1, reason=f"a{control}", text=f"b{control}")
    one = report(name=f"c{control}", reasons={f"d{control}": 1}, first_rejects=[reject], problem=f"e{control}")
    one = one.model_copy(update={"archived_to": f"f{control}", "rejects_at": f"g{control}"})
    assert control not in (compose_email([one]).html or control)
    assert control not in markdown_page([one])


def test_names_that_look_like_templates_stay_as_they_are() -> None:
    name = "{{ 7 * 7 }}{0}{title}%s{% raw %}.csv"
    email = compose_email([report(name=name)])
    assert email.html
    assert all(name in text for text in (email.subject, email.text, email.html))
    assert name in as_read(markdown_page([report(name=name)]))


def test_a_long_row_is_cut_and_control_characters_in_it_are_spelled_out() -> None:
    rejects = [Reject(line=1, reason="value", text="\x1b[31m\x00" + "é" * 200)]
    [line] = [line for line in email_text([report(first_rejects=rejects)]).splitlines() if "line 1" in line]
    assert f"  line 1: \\x1b[31m\\x00{'é' * 88}… (value)" == line


@pytest.mark.parametrize("control", ["\n", "\r\n", "\x1b", "\x00", "\u2028", "\u202e", "\x85"])
def test_a_key_with_control_characters_forges_no_line_of_email_or_title(control: str) -> None:
    forged = report(name=f"a{control}evil.csv: 7 rows loaded", problem=f"b{control}c")
    lines = email_text([forged]).splitlines()
    assert ["a", "  why", "  8 rows", "  from s3"] == [line.partition("\\")[0].partition(":")[0] for line in lines]
    for text in (*lines, headline([forged]), ingest_run_name([forged.name]), *markdown_page([forged]).split("\n")):
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


def as_read(page: str) -> str:
    """The text of a page without its escapes."""
    return unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", page))


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


# ---- Totals -------------------------------------------------------------------------------------------------------


def test_totals_count_every_row_of_every_file_once_and_good_rows_of_a_refused_file_apart() -> None:
    assert (
        "12 rows: 7 loaded, 1 replaced by a later row with the same key, 3 rejected, 1 valid but not loaded"
    ) == row_totals([report(), REFUSED, MISSING])


def test_totals_of_loaded_files_do_not_mention_rows_that_are_not_loaded() -> None:
    assert "1 row: 1 loaded, 0 replaced by a later row with the same key, 0 rejected" == row_totals(
        [report(lines=1, rows=1, accepted=1, replaced=0)]
    )
