"""The email about files: what it counts and shows, and that nothing from outside means anything in it."""

from typing import Any

import pytest

from blocks.domain.models import Reject
from flows.notification.email import PLOT_ID, compose_email, email_text
from flows.report import headline, ingest_run_name, markdown_page
from tests.flows.report.reports import HOSTILE, MISSING, REFUSED, SUMMARY, Tags, as_read, report


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
    assert "500 files: 480 loaded, 10 refused, 10 missing; 30 rows rejected" == email.subject
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
